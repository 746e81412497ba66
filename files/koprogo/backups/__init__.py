"""Sets of everything that a server holds, restores, drills, and copies elsewhere.

commands     backup.py, drill.py, restore.py, offsite.py with offsite_upload.py, recovery.py
a set        dump.py writes one: running_database.py, parts.py, content.py, packing.py
the sets     sets.py, retention.py, backup_folder.py; space.py looks for room, backup_state.py remembers what was done
a restore    restoring.py: exchange.py, restart.py; into a throwaway.py, made by its recipe.py, by feeding.py
elsewhere    offsite_store.py
"""
