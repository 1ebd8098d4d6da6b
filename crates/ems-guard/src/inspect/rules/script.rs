//! Script injection: HTML and its attributes by a tokeniser, JavaScript by its calls and objects.

use super::{Places, Rule};

const STRICT: Places = Places::STRICT;
const ALL: Places = Places::STRICT.and(Places::PROSE);
const GIVEN: Places = Places::GIVEN;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "script-tokens",
        score: 5,
        looks_for: "text that a browser, wherever in a page it stands, would read as script (libinjection)",
        example: "<a href=\"jAvAsCrIpT:1\">",
        places: ALL,
        patterns: &[],
    },
    Rule {
        id: "script-tag",
        score: 5,
        looks_for: "a tag that loads or runs something",
        example: "<script>alert(1)</script>",
        places: ALL.and(Places::DOCUMENT),
        patterns: &[
            r"<[\s/\x00:]*(?:\w+:\s*)?(?:script|iframe|frameset|applet|embed|object|svg|vmlframe|xss|isindex|importimplementation|math|noscript|portal|marquee|bgsound|layer|ilayer|xml|blink|keygen|animate|set\s+attributename)(?:$|[\s/>:;=\x22'(?+])",
            r"<\s*(?:meta|link|base|style|form|input|button|select|textarea|video|audio|img|image|body|details|body|table|html|frame|a|p|div|span|x|input|font|source|picture|dialog|label|title|template|center|br|hr|b|i|u|li|ul|td|tr|th|h[1-6]|object|v|o|marquee)\b[\s/'\x22][^>]*=",
            r"<\s*/?\s*(?:script|style|title|textarea|iframe|svg|noembed|noscript|xmp)\s*>",
            r"<\?\s*(?:import|xml-stylesheet)\b|<!--\s*#\s*(?:exec|include|echo|set|config|printenv|fsize|flastmod|if|elif)\b|<!--esi\b|<esi:\w|\w<\w?>\w+\s*=|<!\[cdata\[\s*<",
        ],
    },
    Rule {
        id: "script-markup",
        score: 5,
        looks_for: "any tag in a field that is no prose",
        example: "<b>x</b>",
        places: GIVEN.without(Places::PATH).and(Places::PATH),
        patterns: &[
            r"<\s*/?\s*(?:html|body|head|meta|link|base|style|form|input|button|img|image|video|audio|font|table|div|span|title|center|pre|b|i|u|h1|br|a|p)\b[^<]*>",
            r"<\W{0,3}(?:s\W?c\W?r\W?i\W?p\W?t|f\W?o\W?r\W?m|s\W?t\W?y\W?l\W?e|i\W?f\W?r\W?a\W?m\W?e|e\W?m\W?b\W?e\W?d|o\W?b\W?j\W?e\W?c\W?t|m\W?e\W?t\W?a|i\W?m\W?g)\b",
            r"<[\w\x22'/\s:!-]*\bon\w+[\s/]*=|<\s*\w+\s+(?:src|href|style|background|data|action|formaction|code|classid|lowsrc|dynsrc)\s*=",
            r"<\s*base\b.*href|<\s*link\b.*href|<\s*meta\b.*(?:http-equiv|charset)|<\s*object\b.*(?:type|data|codebase|archive)",
            r"[\xbc\xa2]\s*/?\s*[a-z]+[^\xbc\xbe]*\xbe",
        ],
    },
    Rule {
        id: "script-handler",
        score: 5,
        looks_for: "an attribute that runs script at an event, behind a quote or within a tag",
        example: "\" onmouseover=alert(1)",
        places: ALL,
        patterns: &[
            r"['\x22<`/;][^>=]*[\s/'\x22`;+]on[a-z]+\s*=\s*[\w'\x22`({/\\&\[]",
            r"\bon(?:abort|blur|change|click|copy|cut|dblclick|drag\w*|drop|error|focus\w*|hashchange|input|invalid|key(?:down|press|up)|load\w*|message|mouse\w+|page\w+|paste|pointer\w+|popstate|progress|reset|resize|scroll\w*|search|select\w*|show|submit|toggle|touch\w+|unload|wheel|animation\w+|transition\w+|begin|end|repeat|start|finish|canplay\w*|play\w*|ended|beforeunload|beforeinput|before\w+|after\w+|webkit\w+|cuechange|auxclick|contextmenu)\s*=\s*['\x22`]?\s*(?:[a-z$_.]+\s*[(\[`=]|javascript|&#|\\|\{|['\x22`])",
        ],
    },
    Rule {
        id: "script-handler-words",
        score: 5,
        looks_for: "anything like an event's attribute in a field that is no prose",
        example: "  onload= ",
        places: GIVEN.without(Places::HEADER).and(Places::REFERER),
        patterns: &[
            r"(?:^|[\s'\x22`/;>\x0b\x0c])on[a-z]+[\s\x0b\x0c]*=",
            r"['\x22]\s*(?:formaction|srcdoc|autofocus|xlink:href|srcset|style|background)\s*=",
        ],
    },
    Rule {
        id: "script-uri",
        score: 5,
        looks_for: "an address that is script",
        example: "javascript:alert(1)",
        places: ALL,
        patterns: &[
            r"j[\s\\]*a[\s\\]*v[\s\\]*a[\s\\]*s[\s\\]*c[\s\\]*r[\s\\]*i[\s\\]*p[\s\\]*t[\s\\]*:\s*(?:[\w'\x22`\[(/%$!+~{-].*[(=`\[/]|$)",
            r"\b(?:vbscript|livescript|mocha|wscript|view-source|mhtml)\s*:\s*[\w(]|\bdata\s*:\s*(?:text/(?:html|xml|javascript|plain|x?html)|image/svg|application/(?:x?html|xml|javascript))",
            r"\bfeed:javascript|\bjar:https?:|&tab;|&newline;",
        ],
    },
    Rule {
        id: "script-uri-words",
        score: 5,
        looks_for: "the name of a scheme that runs script, in a field that is no prose",
        example: "javascript: ",
        places: STRICT,
        patterns: &[
            r"\b(?:java|vb|live|j)\s*script\s*:\s*(?:$|[^\sa-z]|[a-z]\w*\s*[=:(.\[;])|\bdata\s*:[\w/;=+-]*,|(?:^|[=\s])data:\w+/",
        ],
    },
    Rule {
        id: "script-object",
        score: 5,
        looks_for: "objects of a page that a script reads or changes",
        example: "document.cookie",
        places: ALL,
        patterns: &[
            r"\bdocument\s*(?:\)\s*)?(?:\.\s*(?:cookie|domain|location|write(?:ln)?|body|forms|referrer|documentelement|getelement\w*|queryselector\w*|createelement|url|title\s*=|innerhtml|implementation|execcommand|baseuri)\b|\[\s*['\x22/])",
            r"\b(?:window|self|top|parent|frames|globalthis|this)\s*\[\s*(?:['\x22`/]|\w+\s*[+(])|\bwindow\s*\.\s*(?:location|open|alert|name|onerror|eval|atob|settimeout|document|top|frames|parent)",
            r"\b(?:string|s)\s*\.\s*fromcharcode\b|\.\s*(?:innerhtml|outerhtml|insertadjacenthtml|srcdoc)\b|\blocation\s*\.\s*(?:href|hash|replace|assign)\s*[=(]|\b(?:local|session)storage\b\s*[.\[]|\bxmlhttprequest\b|\bnavigator\.sendbeacon|\$\.(?:getscript|globaleval|ajax)\b",
            r"\.\s*cookie\s*;\s*(?:expires|domain|path)\s*=|\bcookie\b[^=]*;\s*(?:expires|domain)\s*=|\.addimport\b|\blocation=(?:name|hash|atob|['\x22`]\w+['\x22`]\+)(?:$|[;'\x22/)>(\w])",
        ],
    },
    Rule {
        id: "script-call",
        score: 5,
        looks_for: "a call that scripts of an attack make",
        example: "alert(1)",
        places: GIVEN.and(Places::REFERER),
        patterns: &[
            r"\b(?:alert|confirm|prompt|eval|fetch|atob|btoa|settimeout|setinterval|setimmediate|importscripts|execscript|unescape|decodeuri\w*|print)\s*(?:\(|`|\.\s*(?:call|apply|bind)|\?\.)",
            r"\bnew\s+(?:function|image|worker|xmlhttprequest|activexobject|eventsource|websocket|promise|proxy)\b\s*\(?|\bimport\s*(?:\(|\{|\*|['\x22])|\bfunction\s*\w*\s*\([^)]*\)\s*\{|=>\s*[\w{(]+\s*[(.`]",
            r"\b(?:reflect|object|array|math|json)\s*\.\s*(?:construct|apply|assign|defineproperty|from|parse)\s*\(|\bconsole\s*(?:\.\s*\w+\s*\(|\[)",
        ],
    },
    Rule {
        id: "script-call-quoted",
        score: 5,
        looks_for: "such a call behind a quote, a bracket or a semicolon, or with a constant as its argument",
        example: "';alert(1)//",
        places: ALL,
        patterns: &[
            r"(?:['\x22`;>)}\]+-]|^)\s*(?:alert|confirm|prompt|eval|settimeout|setinterval|fetch)\s*(?:\(\s*(?:['\x22`\d/\\]|document|window|atob|string|name|this|location|\))|`[^`]*`)|\((?:alert|confirm|prompt|eval)\)[(`]|\b(?:alert|confirm|prompt|eval)\s*(?:\?\.|\.\s*(?:call|apply|bind)\s*)\(",
            r"\bimport\s*\{\s*\w+[\w\s,]*\}\s*from\s*['\x22]|\.\s*constructor\s*(?:\.\s*constructor|\()|\$\{\s*(?:alert|eval|confirm|prompt)\b",
        ],
    },
    Rule {
        id: "script-style",
        score: 5,
        looks_for: "a style sheet that loads or runs something",
        example: "style=width:expression(alert(1))",
        places: STRICT.and(Places::PROSE),
        patterns: &[
            r"@(?:import|plugin)\s*(?:\(\w+\)\s*)?['\x22]|@\W{0,2}i\W{0,2}m\W{0,2}p\W{0,2}o\W{0,2}r\W{0,2}t\s*(?:['\x22\\]|url)|-moz-binding|\bbehaviou?r\s*:\s*url|:\s*expression\s*\(|\bstyle\s*=\s*['\x22]?[^>]*(?:expression|url)\s*\(|[:;]\s*(?:background(?:-image)?\s*:)?[^:;]*url\s*\(\s*['\x22]?\s*(?:javascript|data|vbscript)",
        ],
    },
    Rule {
        id: "script-obscured",
        score: 5,
        looks_for: "script written without letters, or spread over a template",
        example: "[][(![]+[])[+[]]]",
        places: ALL,
        patterns: &[
            r"(?:[!+]*\[\]|\(!\[\]\+\[\]\)|\[\+\[\]\]|\+!\+\[\]|!!\[\]|\(\s*!?!\[\]\s*\+?\s*\[\]\s*\)){2}|\[\]\[\(|\[!\+\[\]|\(!\[\][+ ]|[+!]{2,}\[\]",
            r"\]\s*\.\s*(?:sort|map|filter|find|some|every|foreach|reduce|join|concat|constructor|at|with)\s*(?:\.\s*(?:call|apply|bind))?\s*(?:`|\(\s*(?:\d+\s*,\s*)?(?:alert|eval|function|confirm|prompt|console))",
            r"\$=~\[\];|\bjj\s*=|\bfromcodepoint\s*\(|\[\s*['\x22]\\?(?:x6[0-9a-f]|u00)",
        ],
    },
];
