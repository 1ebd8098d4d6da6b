//! SQL injection. The tokeniser finds what breaks out of a value; patterns find what it takes for
//! words: functions, catalogues, statements.

use super::{Places, Rule};

const STRICT: Places = Places::STRICT.without(Places::HEADER.and(Places::FILE));
const FIELDS: Places = Places::FIELDS.and(Places::PATH);
const ALL: Places = STRICT.and(Places::PROSE);
/// Header fields as well: some end in a log or a statement. There only a form is looked for.
const EVERYWHERE: Places = ALL.and(Places::HEADER);

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "sql-tokens",
        score: 5,
        looks_for: "text whose tokens, read as SQL inside and outside of quotes, are those of a known injection (libinjection)",
        example: "-1839' or '1'='1",
        places: EVERYWHERE,
        patterns: &[],
    },
    Rule {
        id: "sql-union",
        score: 5,
        looks_for: "a UNION that adds a SELECT",
        example: "-1 UNION ALL SELECT null, null",
        places: EVERYWHERE,
        patterns: &[
            r"\bunion\s*(?:all|distinct|distinctrow)\s*\(*\s*select\b",
            r"\bunion\s+\(?\s*select\s*(?:null|[\d'\x22(*@`]|\w+\s*[,(.@])",
            r"\bunion\b\W+select\b\W*\w+\W+from\b",
        ],
    },
    Rule {
        id: "sql-union-words",
        score: 5,
        looks_for: "the words UNION SELECT in a field that is no prose",
        example: "union select",
        places: FIELDS,
        patterns: &[r"\bunion\b\W+(?:all\W+|distinct\w*\W+)?select\b"],
    },
    Rule {
        id: "sql-tautology",
        score: 5,
        looks_for: "a condition that compares two constants",
        example: "1234 OR 1=1",
        places: EVERYWHERE,
        patterns: &[
            r"(?:\b(?:or|and|xor|having|where)\b|\|\||&&)\s*\(*\s*(?:not\s+|!)?\(*(?:'[^']*'?|\x22[^\x22]*\x22?|0x[0-9a-f]+|-?\d+)\s*\)*\s*(?:<=>|[<>!]?=|<>|[<>]|(?:not\s+)?(?:like|regexp|rlike|between|in)\b)\s*\(*\s*(?:['\x22]|-?\d|\(|null\b|select\b)",
            r"['\x22]\s*\)*\s*(?:\b(?:or|and|xor)\b|\|\||&&)\s*\(*\s*(?:not\s+|!)?\w+\s*(?:\(|[<>!]?=|<>|like\b|is\s+(?:not\s+)?null)",
            r"\b(?:or|and)\s+(?:true|false|not\s+(?:true|false)|\d+)\s*(?:--|#|/\*|;)|['\x22)\d]\s*\b(?:or|and)\s+(?:true|false)\s*$",
            r"^\s*(?:or|and|having|where)\s+['\x22(]*\w+['\x22]?\s*(?:[<>!]?=|<>|like\b)\s*['\x22]?\w+['\x22]?\s*(?:--|#|/\*|;|$)|^\s*(?:or|and)\s+true\s*$",
            r"\(\d+=\d+\)\s*(?:$|[*/+-])|\b(?:if|iif|elt|make_set|decode|ifnull|nullif|not)\s*\(\s*-?\d+\s*(?:<=>|[<>!]?=|<>|[<>])\s*-?\d+\s*[,)]|\bcase\s+when\s+\(*\s*(?:-?\d+|'[^']*'|\w+\s*\([^)]*\))\s*(?:[<>!]?=|<>|[<>]|like\b)",
        ],
    },
    Rule {
        id: "sql-stacked",
        score: 5,
        looks_for: "a second statement behind a semicolon or a quote",
        example: "1; DROP TABLE users",
        places: EVERYWHERE,
        patterns: &[
            r"[;'\x22)]\s*(?:insert\s+(?:ignore\s+)?into|update\s+\w+\s+set\b|delete\s+from|(?:drop|alter|create|truncate)\s+(?:or\s+replace\s+)?(?:table|database|schema|user|view|index|function|procedure|trigger|login|role)\b|exec(?:ute)?\s+(?:master|xp_|sp_|immediate|\(|@)|declare\s+@|shutdown\b\s*(?:;|--|$)|waitfor\s+(?:delay|time)|load\s+data|copy\s+\w+\s+(?:from|to)\s|grant\s+\w+\s+(?:on|to)|merge\s+into|replace\s+into)",
            r"\b(?:create|alter)\s+table\s+\w+\s*\(\s*\w+\s+(?:int|text|varchar|char|blob|date|serial|number)|\bdrop\s+table\s+\w+\s*(?:;|--)|^\s*select\s+\w+\([^)]*\)\s*;",
            r";\s*(?:select\b\s*(?:[\w@*'\x22(]|case)|set\s+@|call\s+\w+\s*\(|backup\s+database|handler\s+\w+\s+open|use\s+\w+;)",
        ],
    },
    Rule {
        id: "sql-stacked-words",
        score: 5,
        looks_for: "a statement behind a semicolon in a field that is no prose",
        example: ";truncate[xx",
        places: FIELDS,
        patterns: &[
            r"[;'\x22`]\s*(?:select|insert|update|delete|drop|truncate|alter|create|replace|rename|exec|execute|declare|desc|describe|load|union)\b\s*[^\w\s.,:;!?'\x22-]\W{0,3}\w",
            r"[;'\x22`]\s*(?:select|exec|execute|truncate|desc|describe|declare)\b\W{0,4}\w+\s*(?:$|;|--|#|/\*)|[;'\x22`]\s*select\s+\w+\s*(?:\(|,|\bfrom\b)|;\s*(?:truncate|replace|insert)[^\w\s]",
        ],
    },
    Rule {
        id: "sql-statement",
        score: 5,
        looks_for: "a statement of SQL in a field that is no prose",
        example: "ALTER TABLE meters ADD x TEXT",
        places: FIELDS,
        patterns: &[
            r"\b(?:alter|create|drop|truncate)\s+(?:or\s+replace\s+)?(?:table|database|function|view|index|trigger|procedure|schema|user|login)\s+\W?\w",
            r"\binsert\s+(?:ignore\s+|low_priority\s+)?into\b\W*\w+\W*(?:\(|values|select|set)|\bdelete\s+from\s+\W?\w+\W?\s*(?:where|limit|;|--|#|/\*)|\bupdate\s+\W?\w+\W?\s+set\s+\W?\w+\W?\s*=",
            r"\bselect\b\W{0,6}(?:\*|distinct\b|top\s+\d|all\b|@|\w+\s*\(|'|\x22|\d+\s*,|0x|/\*|-?\d+$|-?\d+\s*(?:--|#|;|from\b|where\b))",
            r"\bselect\b[\w\s,.*()`'\x22@+-]+\bfrom\b\W*\w+\W*(?:$|where\b|limit\b|order\b|group\b|union\b|having\b|as\b|join\b|into\b|;|--|#|/\*|,|\))",
            r"\b(?:select|having|from)\b\W*\(\s*(?:select\b|user|version|database|current_)",
            r"\bgroup\s+by\b.*?\bhaving\b|\bhaving\s+(?:\w+\s*[<>=]|\d|count\s*\()|\border\s+by\s+\d+\s*(?:--|#|,|$)|\bprocedure\s+analyse\b|\binto\s+(?:out|dump)file\b|\blimit\s+\d+\s*(?:,|offset)\s*\d|\bcase\s+when\b|\bwaitfor\s+delay\b|\bexec(?:ute)?\s+(?:xp_|sp_|master\b)|\bload\s+data\b.*\binfile\b",
            r"\bselect[-~@^\\\w.()`'\x22]+from\W?[`'\x22\w]",
            r"\)\s*(?:like|rlike|regexp|in)\s*\(|\bif\s*\(\s*(?:\d|\w+\s*\()[^)]*\)?\s*[=<>,]|\bif\s*\(\s*select\b|\bselect\s+if\s*\(",
            r"\W\bas\s*[`'\x22]\w*[`'\x22]?\s+from\b|`\s*(?:regexp|like|rlike|between)\s|\bcreate\s+table\s+\w|\bexecute\s+immediate\b|\bexec\s*\(\s*@|\bdeclare\s*@\w|unionselect|\b1\.e\.\w",
            r"^['\x22]?\w*['\x22]\s*(?:!=|<>|<=>|=)\s*['\x22]\w",
        ],
    },
    Rule {
        id: "sql-select-words",
        score: 3,
        looks_for: "a SELECT at the start of a field, or behind a quote",
        example: "'select h",
        places: FIELDS,
        patterns: &[r"(?:^|['\x22(])\s*select\b\W{1,3}[\w@`*'\x22]"],
    },
    Rule {
        id: "sql-catalogue",
        score: 5,
        looks_for: "names of a database's own tables, procedures and variables",
        example: "information_schema.tables",
        places: EVERYWHERE,
        patterns: &[
            r"\b(?:information_schema|pg_(?:catalog|shadow|user|tables|database|class|proc|read_file|ls_dir|sleep)|sys(?:objects|columns|databases|logins|users|processes)|sqlite_(?:master|schema|temp_master)|xp_(?:cmdshell|dirtree|regread|regwrite|fileexist|enumdsn|loginconfig|availablemedia|servicecontrol|subdirs)|sp_(?:executesql|oacreate|oamethod|password|makewebtask|addextendedproc|configure|execute)|utl_(?:http|inaddr|file|smtp|tcp)|dbms_(?:\w+)|ctxsys\.|msysobjects|msysaces|mysql\.(?:user|db|func|proc)|(?:all|user|dba)_(?:tables|tab_columns|users|objects|catalog|constraints)\b|performance_schema|table_(?:name|schema)|column_name|schema_name|rdb\$\w+|openrowset|opendatasource|openquery)\b",
            r"@@(?:version|global|hostname|servername|datadir|basedir|spid|rowcount|identity|language|tmpdir|secure_file_priv|max_\w+|version_\w+|microsoftversion)\b",
        ],
    },
    Rule {
        id: "sql-catalogue-words",
        score: 5,
        looks_for: "nothing but the name of a database that ships with a server",
        example: "northwind",
        places: FIELDS,
        patterns: &[
            r"^\s*(?:tempdb|msdb|master\.\.\w*|northwind|mysql\.\w+|pg_\w+|schemata|sysusers)\s*$|@@\w+",
        ],
    },
    Rule {
        id: "sql-delay",
        score: 5,
        looks_for: "calls that make a database wait",
        example: "sleep(20)",
        places: EVERYWHERE,
        patterns: &[
            r"\b(?:sleep|pg_sleep|pg_sleep_for|benchmark|randomblob|generate_series|dbms_pipe\.receive_message|dbms_lock\.sleep)\s*\(\s*(?:-?\d|select\b|['\x22(/]|mod\b|\w+\()",
            r"\bwaitfor\s*(?:delay|time)\s*\(?\s*['\x22]",
        ],
    },
    Rule {
        id: "sql-function",
        score: 5,
        looks_for: "a call of a function of SQL",
        example: "extractvalue(1,concat(0x7e,version()))",
        places: FIELDS,
        patterns: &[
            r"\b(?:abs|acos|adddate|aes_(?:en|de)crypt|ascii|asin|atan2?|benchmark|bin|bit_(?:and|or|xor|count|length)|cast|ceil(?:ing)?|char(?:_length|acter_length)?|charindex|chr|coalesce|compress|concat(?:_ws)?|conv|convert(?:_tz)?|cos|cot|count|crc32|cr32|curdate|current_(?:date|time|timestamp|user|setting)|curtime|database|datediff|date_(?:add|sub|format)|dayof(?:month|week|year)|db_name|decode|degrees|des_(?:en|de)crypt|div|dump|elt|encode|encrypt|exp(?:ort_set)?|extract(?:value)?|field|find_in_set|floor|format|found_rows|from_(?:base64|days|unixtime)|get_(?:format|lock)|greatest|group_concat|hex(?:toraw)?|host_name|if(?:null)?|iif|inet_(?:aton|ntoa|6_aton)|insert|instr|interval|is_(?:free_lock|used_lock|srvrolemember|member)|isnull|json(?:b)?_\w+|last(?:_insert_id|_day)?|lcase|least|left|len(?:gth)?|ln|load_(?:file|extension)|localtime(?:stamp)?|locate|log(?:10|2)|lower|lo_(?:im|ex)port|lo_get|lpad|ltrim|make(?:_set|date)|master_pos_wait|md5|mid|minute|mod|monthname|name_const|now|nullif|nvl2?|object_(?:id|name)|octet_length|old_password|ord|password|patindex|period_(?:add|diff)|pg_\w+|pi|pow(?:er)?|position|printf|procedure_analyse|quarter|quote(?:name)?|radians|rand|randomblob|rawtohex|regexp_\w+|release_lock|repeat|replace|replicate|reverse|right|round|row_(?:count|number)|rpad|rtrim|schema|sec_to_time|session_user|sha[12]?|sign|sin|sleep|soundex|space|sqlite_\w+|sqrt|starts_with|std(?:dev)?(?:_pop|_samp)?|strcmp|str_to_date|strftime|string_agg|stuff|sub(?:date|str(?:ing(?:_index)?)?|time)|sum|suser_(?:name|id|sname)|sys(?:date|tem_user|_context)|tan|time_to_sec|to_(?:base64|char|days|number|ascii|seconds|hex|timestamp)|translate|trim|truncate|typeof|ucase|uncompress(?:ed_length)?|unhex|unistr|unix_timestamp|unicode|updatexml|upper|user(?:_name|_id|env)?|utc_(?:date|time|timestamp)|uuid(?:_short)?|var(?:_pop|_samp|iance)|version|week(?:day|ofyear)?|xml(?:agg|type|element|forest)|xpath|yearweek|zeroblob)(?:\(|\s+\(\s*(?:$|[\d'\x22(@)]))",
            r"\bfunction\s*\(\w*\)::|\(\s*\w+\s*\)\s*::\s*\w+|\w::(?:int\d?|integer|bigint|text|bool(?:ean)?|jsonb?|regclass|numeric|varchar|char|bytea|date)\b|\b1\.e\s*\(",
        ],
    },
    Rule {
        id: "sql-function-nested",
        score: 5,
        looks_for: "a function of SQL whose argument is a query, another function or a number in hexadecimal",
        example: "concat(0x7e,(select 1))",
        places: EVERYWHERE,
        patterns: &[
            r"\b(?:extractvalue|updatexml|xmltype|name_const|load_file|group_concat|concat_ws|concat|char|chr|ascii|ord|substring|substr|mid|hex|unhex|make_set|elt|convert|cast|ifnull|nullif|coalesce|count|iif|if)\s*\(\s*(?:\(?\s*select\b|0x[0-9a-f]{2}|@@|(?:user|version|database|current_user|system_user|session_user)\s*\(|(?:concat|char|chr|ascii|ord|substring|substr|mid|hex|cast|convert)\s*\()",
            r"(?:char|chr|nchar)\s*\(\s*\d{1,3}\s*\)\s*(?:\|\||\+|,|%2b)",
            r"\bunion\W+\(?\W*select|\bselect\W+(?:\*|\w+\s*\(.*\))\W+from\W+\w|\(\s*select\b\W*(?:\w+\s*\(|\*|case\b|\w+(?:\s*,\s*\w+)*\s+from\b)|\+select\+[\w*,]+\+from\+\w|^\s*order\s+by\s+\d+\s*(?:--|#|/\*|$)",
        ],
    },
    Rule {
        id: "sql-break",
        score: 5,
        looks_for: "a quote that ends a value, and what ends or comments out the rest of the statement",
        example: "admin'--",
        places: FIELDS.and(Places::PROSE),
        patterns: &[
            r"^(?:[\w@.+%:/-]+ ){0,3}[\w@.+%:/-]*['\x22]\s*\)*\s*(?:--(?:[\s+-]|$)|#|/\*|;\s*(?:--|#|/\*|$|\x00))",
            r"(?:^|\w)['\x22]\s*\)*\s*;?\s*--\s*[-+]?\s*$|^[\w@.+%:/-]+`\s*\)*\s*(?:--|#|/\*|;\s*(?:--|#|/\*|$))",
            r"^\s*['\x22]\s*(?:\)|=|\+|\|\||&&|\^|-|\*|/|<|>|like\b|or\b|and\b|is\b|in\b|limit\b|order\b|group\b|having\b|union\b|select\b|;)[^\w]{0,6}(?:$|['\x22`\d(@#-])",
            r"['\x22]\s*(?:\|\||\+)\s*(?:\(?\s*select\b|(?:utl_|dbms_|xmltype|chr?\(|sleep|to_char)|['\x22]\s*(?:\|\||\+))",
        ],
    },
    Rule {
        id: "sql-break-words",
        score: 5,
        looks_for: "the same behind any number of words, or with the backquote of MySQL, in a field that is no prose",
        example: "a`)#",
        places: FIELDS,
        patterns: &[
            r"['\x22]\s*\?\s*'|^[\w@.+%:/ -]*['\x22`]\s*\)*\s*(?:--|#|/\*|;\s*(?:--|#|/\*|$|\x00))|(?:^|\w)`\s*\)*\s*;?\s*--\s*[-+]?\s*$|^\s*`\s*(?:\)|=|\+|\|\||&&|\^|-|\*|/|<|>|like\b|or\b|and\b|is\b|in\b|limit\b|order\b|group\b|having\b|union\b|select\b|;)[^\w]{0,6}(?:$|['\x22`\d(@#-])",
        ],
    },
    Rule {
        id: "sql-operator",
        score: 5,
        looks_for: "operators that only a database knows: casts, JSON paths, comments with a version",
        example: "' or '{\"b\":2}'::jsonb <@ '{}'",
        places: ALL,
        patterns: &[
            r"['\x22)\]}\d]\s*::\s*(?:int\d?|integer|bigint|text|bool(?:ean)?|jsonb?|regclass|numeric|varchar|char|bytea|date)\b",
            r"['\x22`]\s*->>?\s*'|['\x22`]\s*(?:@>|<@|@\?|@@|#>>?|#-|\?[|&])\s*['\x22\d]|['\x22]\s*[<>]\s*'\$",
            r"\?[|&]\s*array\s*\[|\bor\s+'[{\[]",
            r"/\*!\d{0,6}\s*\w|\{\s*(?:if|d|x|`?\w+`?)\s+\(?\s*(?:select|length|sleep|substr|mid|ascii)\b|\b\d(?:\.\d*)?e(?:\(|\s*(?:union|from|ascii|substr|select|where)\b)",
            r"\b(?:sounds\s+like|rlike|regexp)(?:\s+['\x22]|\s*\(|\s+binary\b|\s+0x)|\b(?:or|and)\s+\(?\s*(?:select|exists)\b\s*[(\w*]",
        ],
    },
];
