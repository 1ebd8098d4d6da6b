//! Scanners by what they call themselves, and heads that no honest client sends.

use super::{Places, Rule};

const NOWHERE: Places = Places::STRICT;

/// A rule that is found by code.
const fn coded(
    id: &'static str,
    score: u32,
    looks_for: &'static str,
    example: &'static str,
) -> Rule {
    Rule {
        id,
        score,
        looks_for,
        example,
        places: NOWHERE,
        patterns: &[],
    }
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "scanner-agent",
        score: 5,
        looks_for: "a client that names itself as a scanner of weaknesses",
        example: "sqlmap/1.8",
        places: Places::AGENT,
        patterns: &[
            r"\b(?:acunetix|afrog|appscan|arachni|autoscan|bsqlbf|burp(?:suite|collaborator)?|cgichk|commix|dalfox|detectify|dirb(?:uster)?|dirsearch|feroxbuster|fimap|ffuf|fuzz\w*|gobuster|grabber|grendel|havij|hydra|inspath|interactsh|internetmeasurement|joomscan|jorgee|katana|l9explore|libwhisper|libwww-perl-scan|masscan|metasploit|morfeus|n-stealth|nessus|netsparker|nikto|nmap|nsauditor|nuclei|openvas|paros|pangolin|prog\.customcrawler|pmafind|qualys|revolt|rustscan|sipvicious|skipfish|springenwerk|sqlmap|sqlninja|sqlsus|sysscan|tplmap|vega|vulnscan\w*|w3af|wapiti|webinspect|webshag|webvulnscan|whatweb|wfuzz|wpscan|xsser|xspider|xsstrike|zaproxy|zgrab|zmeu|censysinspect|expanse)\b",
        ],
    },
    Rule {
        id: "scanner-probe",
        score: 3,
        looks_for: "a path of other software that scanners ask for",
        example: "/wp-login.php",
        places: Places::PATH,
        patterns: &[
            r"\.(?:php\d?|aspx?|jspx?|cgi|cfm|do|action|pl)(?:$|/)|/(?:cgi-bin|phpmyadmin|pma|wp-(?:admin|login|content|includes|json)|xmlrpc|actuator|jenkins|manager/html|solr|owa|autodiscover|boaform|hnap1|vendor/phpunit|_ignition|telescope|console|druid|nacos|struts2?-\w+)\b",
        ],
    },
    Rule {
        id: "scanner-trace",
        score: 5,
        looks_for: "names that scanners put into their requests",
        example: "acunetix_wvs_security_test",
        places: Places::STRICT.and(Places::PROSE),
        patterns: &[
            r"acunetix[_-]|\bburpcollaborator\b|\boastify\.com|\binteract\.sh\b|\boast\.(?:me|pro|live|site|online|fun)\b|\bnessustest\b|\bnikto\b.*\.html|\bappscan_|\bxss\.rocks\b|\bbxss\.me\b|\bxsshunter\b|\bdnslog\.cn\b|\bceye\.io\b",
        ],
    },
    coded(
        "protocol-method",
        5,
        "a method that HTTP does not define for resources, or that only tunnels and traces",
        "TRACK / HTTP/1.1",
    ),
    coded(
        "protocol-target",
        5,
        "a target that is no path",
        "GET http://evil.example/ HTTP/1.1",
    ),
    coded(
        "protocol-nul",
        5,
        "a NUL byte, plain or in escapes",
        "a=b%00",
    ),
    coded(
        "protocol-control",
        5,
        "a control character other than tab and line break",
        "a=%01",
    ),
    coded(
        "protocol-encoding",
        5,
        "escapes that are broken or not UTF-8: what is meant depends on who reads it",
        "a=%c0%af",
    ),
    coded(
        "protocol-encoding-twice",
        2,
        "escapes of escapes",
        "a=%2527",
    ),
    coded(
        "protocol-encoding-wide",
        5,
        "the escapes of one old server (`%u`), full-width or overlong forms of plain letters",
        "a=%uff1cscript",
    ),
    coded(
        "protocol-parameters",
        5,
        "more parameters, or longer ones, than any route takes",
        "?1111…1111=a",
    ),
    coded(
        "protocol-media-type",
        5,
        "a media type that is malformed, or has a character set other than Unicode's",
        "Content-Type: text/plain; charset=utf-7",
    ),
    coded(
        "protocol-media-type-strange",
        5,
        "a media type that no client of an API sends",
        "Content-Type: application/x-amf",
    ),
    coded(
        "protocol-field",
        5,
        "a header field that is repeated where it may not be, contradicts itself or has an impossible value",
        "Connection: keep-alive, close",
    ),
    coded(
        "protocol-field-strange",
        5,
        "a header field that only an attack on something in between has a use for",
        "Proxy: http://evil.example/",
    ),
    coded(
        "protocol-range",
        5,
        "ranges of bytes that overlap or are many",
        "Range: bytes=0-,5-0,5-1,5-2,5-3,5-4",
    ),
    coded(
        "protocol-body",
        5,
        "a body where the method has none, of a client without a valid credential",
        "GET / HTTP/1.1 with Content-Length: 7",
    ),
    coded(
        "protocol-multipart",
        5,
        "parts of a form whose heads are broken or contradict each other",
        "Content-\u{7f}Disposition: form-data",
    ),
];
