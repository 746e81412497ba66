#!/bin/bash
# The contract of the official postgres image, for the sandbox: on its first start it makes the database cluster from
# POSTGRES_USER (the superuser; no other role is made), POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE, POSTGRES_DB,
# POSTGRES_INITDB_ARGS and POSTGRES_HOST_AUTH_METHOD, and runs what lies in /docker-entrypoint-initdb.d.
#
# The cluster is made beside its place and moved there when it is complete and on disk, PG_VERSION last: a power cut
# during the first start leaves either nothing that counts or all of it.
set -Eeuo pipefail

if [ "${1:-postgres}" = postgres ] || [ "${1:0:1}" = - ]; then
    [ "${1:-}" = postgres ] && shift
else
    exec "$@"
fi

new="$PGDATA/.new"

if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA"
    chmod 700 "$PGDATA"
    find "$PGDATA" \! -user postgres -exec chown postgres:postgres {} +
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" postgres "$@"
fi

secret() { # the value of $1, or of the file that ${1}_FILE names
    local file="${1}_FILE"
    if [ -n "${!file:-}" ]; then cat "${!file}"; else printf %s "${!1:-}"; fi
}

sql() { psql --no-psqlrc --set ON_ERROR_STOP=1 --username "$user" --no-password --dbname "${1:-$database}"; }

make_cluster() {
    local method="${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" password file
    user="${POSTGRES_USER:-postgres}"
    database="${POSTGRES_DB:-$user}"
    password="$(secret POSTGRES_PASSWORD)"
    if [ -z "$password" ] && [ "$method" != trust ]; then
        echo "Error: set POSTGRES_PASSWORD, the password of the superuser, to initialize the database." >&2
        exit 1
    fi

    # What an interrupted first start left; nobody has been served from it.
    find "$PGDATA" -mindepth 1 \! -name lost+found -delete
    eval 'initdb --no-sync --pgdata="$new" --username="$user" --pwfile=<(printf "%s\n" "$password") '"${POSTGRES_INITDB_ARGS:-}"
    printf '\nhost all all all %s\n' "$method" >> "$new/pg_hba.conf"

    # Nobody else may reach it until it is complete: a socket and no network.
    pg_ctl --pgdata="$new" --wait --silent --options="-c listen_addresses=''" start
    if [ "$database" != postgres ]; then
        printf 'CREATE DATABASE :"name";\n' | psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --set name="$database" \
            --username "$user" --no-password --dbname postgres
    fi
    for file in /docker-entrypoint-initdb.d/*; do
        case "$file" in
            *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
            *.sql) sql < "$file" ;;
            *.sql.gz) gunzip -c "$file" | sql ;;
        esac
    done
    pg_ctl --pgdata="$new" --wait --silent --mode=fast stop

    # Every file, then the names of all but one, then the one that makes it a database.
    initdb --sync-only --pgdata="$new" > /dev/null
    find "$new" -mindepth 1 -maxdepth 1 \! -name PG_VERSION -exec mv -t "$PGDATA" {} +
    sync "$PGDATA"
    mv "$new/PG_VERSION" "$PGDATA/"
    rmdir "$new"
    sync "$PGDATA"
    echo "PostgreSQL init process complete; ready for start up."
}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # An empty folder, or one that bears the mark of a first start that was cut short. Anything else is someone's data.
    if [ -n "$(find "$PGDATA" -mindepth 1 -maxdepth 1 \! -name lost+found -print -quit)" ] && [ ! -e "$new" ]; then
        echo "Error: $PGDATA holds files but no database; it is left alone." >&2
        exit 1
    fi
    make_cluster
fi
exec postgres "$@"
