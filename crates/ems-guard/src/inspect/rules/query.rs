//! Query languages other than SQL, documents of XML, and what splits one message into two.

use super::{Places, Rule};

const FIELDS: Places = Places::FIELDS.and(Places::PATH);
const ALL: Places = Places::ALL.without(Places::AGENT);

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "nosql-operator",
        score: 5,
        looks_for: "an operator of MongoDB as a name, or in brackets behind one",
        example: "user[$ne]=x",
        places: FIELDS.and(Places::HEADER).and(Places::PROSE),
        patterns: &[
            r"(?:^|[\[{'\x22.,(]\s*)\$(?:eq|ne|n?in|[gl]te?|n?or|not|and|where|regex|options|exists|type|mod|text|all|size|elem_?match|expr|jsonschema|slice|meta|comment|lookup|match|project|group|unwind|function|accumulator|geowithin|geointersects|near(?:sphere)?|set|unset|inc|push|pull|rename|ne\w*)\b\s*['\x22\]:.]?",
            r"\bdb\s*\.\s*(?:getcollection|collection|\w+\s*\.\s*(?:find|insert|remove|drop|update|count|aggregate))|\bthis\.\w+\s*(?:==|!=|\.match)|'\s*(?:\|\||&&)\s*(?:this\.|'?\w+'?\s*==)|\bmapreduce\b\s*\(|(?:\|\||&&)\s*['\x22\d]+\s*===?\s*['\x22\d]|;\s*return\b.*(?:true|1|==)|\$where\b",
        ],
    },
    Rule {
        id: "graphql-schema",
        score: 5,
        looks_for: "a query of GraphQL for the schema itself",
        example: "{__schema{types{name}}}",
        places: Places::ALL.without(Places::AGENT),
        patterns: &[
            r"\b__(?:schema|type)\s*[({]|\bon\s+__(?:type|field|inputvalue|directive|enumvalue)\b",
        ],
    },
    Rule {
        id: "ldap-filter",
        score: 5,
        looks_for: "brackets that end one condition of a search in a directory and begin another",
        example: "admin)(|(password=*",
        places: FIELDS.and(Places::PROSE).and(Places::HEADER),
        patterns: &[
            r"\)\s*\(\s*[|&!]|\)[|&!]\(|[*\w]\)\s*\(\s*\w+\s*(?:[~<>]?=|:=)|\(\s*[|&!]\s*\(\s*\w+\s*[~<>]?=|\(\w+=\*\)|\*\)\(+[|&!(]*\w*\s*[~<>]?=|^[^()]*\)\(+\s*[|&!(]*\w+[~<>:]?=|^[^(]*\*\)\)|\*\(\)\s*\||:\d+(?:\.\d+){3,}:=|\)\s*\(\s*\w+\s*[<>~]?=[^)]*$|\(objectclass\s*=|\)\(\w+=\*",
        ],
    },
    Rule {
        id: "xpath-query",
        score: 5,
        looks_for: "axes and functions of XPath and XQuery behind a quote",
        example: "' or name()='user' or '",
        places: FIELDS.and(Places::PROSE),
        patterns: &[
            r"\b(?:and|or)\s+(?:not\s*\(\s*)?(?:starts-with|ends-with|string-length|normalize-space|substring-(?:before|after))\(|\b(?:and|or)\s+(?:contains|doc)\(\s*['\x22./@]|\b(?:ancestor|child|parent|descendant|following|preceding|attribute|self|namespace)(?:-or-self|-sibling)?::(?:\*|node|text|\w+\()|'\]\s*(?:\||/)|//(?:user|\*)\[|\b(?:substring|string-length|count|name|local-name|normalize-space|doc|doc-available)\(\s*(?:/|\.|\*|@|\))",
        ],
    },
    Rule {
        id: "xml-entity",
        score: 5,
        looks_for: "a document type that declares entities or loads them, or an inclusion",
        example: "<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/hosts\">]>",
        places: Places::ALL,
        patterns: &[
            r"<!\s*entity\b|!entity\s+%?|<!\s*doctype\s+[^>]*(?:\[|\bsystem\b|\bpublic\b)|<!\s*(?:element|attlist|notation)\b|\bxi:include\b|xinclude\b.*href|\bxsi:(?:schemalocation|nonamespaceschemalocation)\s*=|<xsl:|xsl:(?:value-of|include|import|stylesheet)|\bpattern\s*=\s*['\x22]?\^|%\w+;\s*\]>",
        ],
    },
    Rule {
        id: "split-response",
        score: 5,
        looks_for: "a line break and the header field or the start of a message behind it",
        example: "x\r\nSet-Cookie: a=b",
        places: Places::ALL.without(Places::DOCUMENT.and(Places::PROSE)),
        patterns: &[
            r"[\r\n]\W*(?:content-(?:type|length|encoding|security-policy)|set-cookie|location|refresh|transfer-encoding|host|cookie|x-[\w-]+|access-control-[\w-]+|proxy-[\w-]+|authorization|connection|link|remote-addr|status|[\w-]+-[\w-]+)\s*:|[\r\n]\W*https?/\d|[\r\n]+\s*<\s*(?:html|head|body|script|!doctype|meta)",
            r"(?:^|[\r\n])?\b(?:get|post|head|options|connect|put|delete|trace|track|patch|propfind|proppatch|mkcol|copy|move|lock|unlock|subscribe)\s+\S+\s+https?/\d|\bhttps?/\d(?:\.\d)?\s+\d{3}\b",
            r"^[^\r\n]*\r\s*[\w-]+\s*:|\r\n?\s*refresh\s*:",
        ],
    },
    Rule {
        id: "split-path",
        score: 5,
        looks_for: "a line break or another control character in the path",
        example: "/a\nb",
        places: Places::PATH,
        patterns: &[r"[\x00-\x08\x0a-\x1f\x7f]"],
    },
    Rule {
        id: "split-mail",
        score: 5,
        looks_for: "a line break and a command or field of a mail protocol",
        example: "x\r\nBcc: a@b.example",
        places: ALL.without(Places::DOCUMENT).without(Places::PROSE),
        patterns: &[
            r"[\r\n]\W*(?:bcc|cc|to|subject|from|mime-version|reply-to)\s*:|[\r\n]+(?:\w{1,5}\s+)?(?:rcpt\s+to|mail\s+from|helo|ehlo|quit|vrfy|expn|stls|list|retr|uidl|capability|select|fetch)\b",
        ],
    },
    Rule {
        id: "session-fixation",
        score: 5,
        looks_for: "the id of a session as a parameter: the API takes none",
        example: "jsessionid",
        places: Places::NAME,
        patterns: &[
            r"^_{0,2}(?:\w*[._:-]?)?(?:sess(?:ion)?(?:[._-]?(?:id|token|key))?|sessid|sid)\w*$|^(?:cfid|cftoken|cfsid|cakephp|shiny[-_]token|laravel_session|\w*login_token|__secure-[\w.-]+|__host-[\w.-]+|\w*[._:-]sess(?:ion)?(?:[._-]\w+)*)$",
        ],
    },
];
