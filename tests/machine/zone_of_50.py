"""A zone as a customer has it after some years: records of every type that OVH's console offers at large."""

PRESENT = 7
"""How many the sandbox's koprogo.test has by itself."""

_DKIM = (
    "v=DKIM1;k=rsa;p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt"
    "IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9"
    "tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"
)
_LONG = "v=spf1 " + " ".join(f"ip4:192.0.2.{number}" for number in range(1, 40)) + " -all"

# Subdomain, type, target, ttl.
MORE: list[tuple[str, str, str, int]] = [
    ("", "A", "192.0.2.10", 0),
    ("", "A", "192.0.2.11", 0),
    ("", "AAAA", "2001:db8::10", 0),
    ("", "CAA", '0 issue "letsencrypt.org"', 3600),
    ("", "CAA", '0 iodef "mailto:syndic@koprogo.test"', 3600),
    ("", "NS", "ns2.sandbox.test.", 0),
    ("", "TXT", "google-site-verification=rXOxyZounnZasA8Z7oaD3c14JdjS9aKSWvsR1EbUSIQ", 600),
    ("www", "CNAME", "koprogo.test.", 0),
    ("ftp", "CNAME", "koprogo.test.", 0),
    ("blog", "CNAME", "sites.elsewhere.example.", 300),
    ("shop", "CNAME", "shops.elsewhere.example.", 300),
    ("*.preview", "CNAME", "preview.koprogo.test.", 120),
    ("preview", "A", "192.0.2.20", 120),
    ("staging", "A", "192.0.2.21", 60),
    ("staging", "AAAA", "2001:db8::21", 60),
    ("vpn", "A", "192.0.2.30", 0),
    ("vpn", "AAAA", "2001:db8::30", 0),
    ("nas", "A", "192.0.2.31", 0),
    ("printer", "A", "192.0.2.32", 0),
    ("pool", "A", "192.0.2.41", 60),
    ("pool", "A", "192.0.2.42", 60),
    ("pool", "A", "192.0.2.43", 60),
    ("pool", "AAAA", "2001:db8::41", 60),
    ("six", "AAAA", "2001:db8::66", 0),
    ("branch", "NS", "ns1.branch.example.", 0),
    ("branch", "NS", "ns2.branch.example.", 0),
    ("backup", "MX", "10 mx.elsewhere.example.", 0),
    ("backup", "MX", "20 mx2.elsewhere.example.", 0),
    ("news", "TXT", _LONG, 0),
    ("notes", "TXT", "one; two", 0),
    ("notes", "TXT", "three", 0),
    ("mail._domainkey", "DKIM", _DKIM, 0),
    ("_dmarc", "DMARC", "v=DMARC1;p=quarantine;rua=mailto:postmaster@koprogo.test", 0),
    ("_sip._tcp", "SRV", "10 60 5060 sip.koprogo.test.", 0),
    ("_sip._tcp", "SRV", "20 10 5060 sip2.koprogo.test.", 0),
    ("_xmpp-client._tcp", "SRV", "5 0 5222 xmpp.koprogo.test.", 0),
    ("sip", "NAPTR", '10 100 "S" "SIP+D2U" "" _sip._udp.koprogo.test.', 0),
    ("vpn", "SSHFP", "4 2 123456789abcdef67890123456789abcdef67890123456789abcdef123456789", 0),
    ("7", "PTR", "nas.koprogo.test.", 0),
    ("_443._tcp", "TLSA", "3 1 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971", 0),
    ("svc", "HTTPS", "1 . alpn=h2", 300),
    ("_dns", "SVCB", "1 dns.koprogo.test. alpn=dot", 300),
    ("office", "LOC", "50 51 0.000 N 4 21 0.000 E 28.00m 10m 100m 10m", 0),
]
