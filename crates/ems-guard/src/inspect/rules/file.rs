//! Files that are not to be reached, and addresses that a server is not to be sent to.

use super::{Places, Rule};

const ALL: Places = Places::ALL.without(Places::AGENT);
const GIVEN: Places = Places::GIVEN;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "file-traversal",
        score: 5,
        looks_for: "steps up out of a directory",
        example: "../../etc/hosts",
        places: ALL,
        patterns: &[
            r"(?:\.{2,3}[\\/;%]+){2}|(?:\.\.0x(?:2f|5c)){2}|(?:^|[\\/=:;\s'\x22])\.{2,3}[\\/]+(?:etc|win\w*|boot|proc|sys|var|usr|root|home|bin|tmp|\.\.|\.\w|conf\w*|web-inf|wp-|apache|inetpub|passwd|users)\b|(?:\.\.;/)|(?:\.{1,2};?[\\/]?\\?\.?;?\\\.){1}\\",
        ],
    },
    Rule {
        id: "file-traversal-words",
        score: 5,
        looks_for: "one step up in a field that is no prose",
        example: "..\\a",
        places: GIVEN.and(Places::REFERER),
        patterns: &[
            r"(?:^|[^.\w])\.{2,}[\\/]|[\\/]\.{2,}(?:[\\/;]|$)|0x2e.{0,2}0x2f|0x2e\.?\W{0,2}/|0x5c|\.{2,3};|\.;[\\/]|\\\.;",
        ],
    },
    Rule {
        id: "file-system",
        score: 5,
        looks_for: "files of an operating system or a server that hold secrets or tell of it",
        example: "/etc/passwd",
        places: Places::ALL.without(Places::PROSE),
        patterns: &[
            r"/etc/+(?:\W{0,3})(?:passwd|shadow|group|gshadow|hosts|issue|motd|crontab|cron\.\w+|sudoers|ssh|ssl|fstab|mtab|init\.d|profile|environment|master\.passwd|resolv|mysql|nginx|apache2?|httpd|php\w*|security|sub[ug]id|pam\.d|os-release|aliases|inetd|services|network|rc\w*|kubernetes|docker)|/proc/(?:self|\d+|version|cpuinfo|meminfo|mounts|net|cmdline|sched_debug|interrupts|stat|devices|modules)|/sys/(?:class|block|bus|devices|firmware|fs|kernel|module)|/var/(?:log|run|lib/(?:mysql|docker|kubelet|php)|mail|spool|www)\b|/root\b/|/home\b/\w+/\.|\bboot\.ini|\bwin\.ini|\bsystem\.ini|\bautoexec\.bat|\bweb\.config\b|\bsystem32[\\/]|\\windows\\|/windows/(?:win|system|repair|panther)|\bweb-inf\b|\bmeta-inf\b|\bserver\.xml\b|\btomcat-users\.xml|\bhttpd\.conf|\bphp\.ini\b|\bmy\.cnf\b|\bwp-config\b|\.(?:htaccess|htpasswd|bash_history|bashrc|ssh/|git/|svn/|aws/|kube/|docker/|env\b|npmrc|pgpass|netrc|mysql_history)|\bid_(?:rsa|dsa|ecdsa|ed25519)\b|\bauthorized_keys\b|/serviceaccount/token",
        ],
    },
    Rule {
        id: "file-system-prose",
        score: 5,
        looks_for: "such a file that holds secrets, or as all there is in a text",
        example: "/etc/shadow",
        places: Places::PROSE,
        patterns: &[
            r"/etc/+\W{0,3}(?:passwd|shadow|gshadow|sudoers|master\.passwd|ssh/|ssl/private|crontab)|/proc/(?:self|\d+)/\w|/root\b/+\.\w|/home\b/\w+/\.\w|[\\/](?:boot|win|system)\.ini\b|\bsystem32[\\/]|/windows/(?:win|system|repair|panther)|\bweb-inf/|\btomcat-users\.xml|\bwp-config\b|[\\/]\.(?:htpasswd|bash_history|ssh/|aws/|kube/|docker/|env$|npmrc$|pgpass|netrc|mysql_history)|\bid_(?:rsa|dsa|ecdsa|ed25519)\b|\bauthorized_keys\b|/serviceaccount/token",
            r"^\W*(?:file:/*)?/(?:etc|proc|sys|root|var/(?:log|run|lib|spool|mail|www))/[\w./-]+\W*$|^\W*(?:\w:)?[\\/]*(?:boot\.ini|autoexec\.bat|win\.ini|web\.config|php\.ini|my\.cnf)\W*$|\bfile:/{2,}(?:etc|proc|\w:|\./)",
        ],
    },
    Rule {
        id: "file-system-words",
        score: 5,
        looks_for: "directories of a system, hidden files and copies, in a field that is no prose",
        example: "/tmp/x",
        places: GIVEN.without(Places::PATH),
        patterns: &[
            r"(?:^|[\s=:>'\x22(,])/(?:etc|proc|sys|tmp|dev|root|opt|srv|usr|bin|sbin|lib(?:64)?|boot|mnt|var|home)/\S|(?:^|[\\/\s=])\.(?:ssh|aws|git|svn|hg|env|bash\w*|zsh\w*|\w*history|htaccess|htpasswd|docker|kube|config|npmrc|profile|gnupg|netrc|pgpass|boto|viminfo|ds_store|idea|vscode)(?:$|[\\/.\s])|\.(?:sql|bak|old|swp|dump|rdb|mdb|ldf|mdf|sqlite3?)(?:$|\.\w+$|~)|~$|^[\w./]*\.(?:conf|cfg|config|ini|inc|log|key|pem|p12|pfx|cer|crt|keystore|jks)$|[\\/]\[[\w-]+[\\/\w-]*\]|/\w*\[\w[-/\w]*\]\w*|\bc:[\\/]|^file:|\bsess_\w{8,}",
        ],
    },
    Rule {
        id: "file-hidden",
        score: 5,
        looks_for: "a path to hidden files, to copies, keys and the settings of programs",
        example: "/.git/config",
        places: Places::PATH,
        patterns: &[
            r"/\.[a-z0-9_-]*[a-vx-z0-9_-][a-z0-9_.-]*(?:$|[/?])|\.(?:bak|backup|old|orig|save|swp|swo|sql|db|mdb|sqlite3?|rdb|ldf|mdf|log|conf|cfg|config|ini|inc|key|pem|p12|pfx|crt|jks|env|ya?ml|lock|dist|tar|tgz|gz|rar|7z|bz2|zip|csproj|vb|resx|asa|asax|ashx|axd|bat|cmd|com|cnf|dat|dll|dos|htr|htw|ida|idc|idq|licx|lnk|pol|printer|rsp|sys|vbs|vbproj|vsdisco|webinfo|xsd|xsx)(?:$|/|~)|~(?:$|/)|/(?:etc|proc|sys)/|/@(?:fs|id)/|/(?:web-inf|meta-inf)|/wp-(?:content|config|includes)\S*\.(?:log|txt|bak|php~)|/(?:package(?:-lock)?|composer|bower|appsettings|secrets?|credentials?|firebase|tsconfig)\.(?:json|lock|ya?ml|xml)$|/(?:dockerfile|makefile|gemfile|procfile|vagrantfile|jenkinsfile)$|/server-(?:status|info)$",
        ],
    },
    Rule {
        id: "file-upload",
        score: 5,
        looks_for: "the name of a file that a server would run or read as its settings",
        example: "a.php",
        places: Places::FILE,
        patterns: &[
            r"\.\s*(?:php\d*|ph(?:p[st]|tm|tml?|ar|t)|phps|jspx?|jsw|jsv|jspf|aspx?|asa|asax|ashx|asmx|cer|cgi|pl|py|rb|sh|bash|exe|dll|bat|cmd|com|msi|scr|vbs|ps1|war|jar|shtml|stm|htaccess|htpasswd|config|swf|hta|inc|user\.ini|svg|7z)(?:\d*)\s*\.*\s*$|\.(?:php\d?|phtml|jspx?|aspx?)\.|(?:^|[\\/])\.|^sess_\w|[\\/]|[;'\x22]|&\w*;|\x00|\bmtrr\b|\bacpi\b|\bconfig\.(?:yml|yaml|php|json)|wp-config|(?:^|\W)(?:web|app|machine)\.config|=",
        ],
    },
    Rule {
        id: "file-include",
        score: 5,
        looks_for: "an address of a scheme or form that is meant to be included or fetched",
        example: "http://192.0.2.7/shell.php",
        places: Places::FIELDS.and(Places::PATH),
        patterns: &[
            r"\b(?:https?|ftps?|sftp|tftp|gopher|dict|ldaps?|smb|jar|netdoc|php|file|phar|expect|data|glob|telnet|rmi|jndi|local_file|ogg|mailto|imap|pop3|smtp|svn|ssh2?|unix|ws|wss|cifs|ldapi|zip|zlib|rsync)\s*:\s*/{0,3}(?:[^\s/@]*@)?(?:\[?[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,}|\d{1,3}(?:\.\d{1,3}){1,3}|0x[0-9a-f]+|\d+|0\d+\.)",
            r"\b(?:ftps?|sftp|tftp|gopher|dict|ldaps?|smb|jar|netdoc|php|file|phar|expect|glob|telnet|rmi|local_file|view-source|cifs|svn|ldapi|iris\.\w+|res)\s*:/{1,3}|^\s*(?:https?|ftps?|file)\S*\?\s*$|^\\\\[\w.:@\[\]-]+\\|\bunix:\S{3,}\||^\s*//[\w.-]+\.\w+/",
            r"\b(?:https?|ftp)://\S+\.(?:php\d?|phtml|txt\?|jsp|aspx?|cgi|pl|py|sh|exe|ps1|js|jpg\?|gif\?|png\?|hta|bat|dll)\b|%(?:25)*(?:ftp|http)",
        ],
    },
    Rule {
        id: "file-include-parameter",
        score: 5,
        looks_for: "an address as the value of a parameter whose name says that a file is meant",
        example: "template=https://evil.example/a",
        places: Places::VALUE,
        patterns: &[],
    },
    Rule {
        id: "address-internal",
        score: 5,
        looks_for: "an address of the machine itself, of a private network or of a cloud's metadata",
        example: "http://169.254.169.254/latest/meta-data/",
        places: Places::FIELDS.and(Places::PROSE),
        patterns: &[
            r"\\\\[^\\\s]+\\(?:\w|admin|ipc)\$|\b(?:[\w-]+\.)*(?:nip|xip|sslip)\.io\b|\b(?:localtest|lvh|vcap)\.me\b|\b(?:1u\.ms|rbndr\.us)\b|\b(?:gopher|dict|netdoc|tftp)://[\w/]|\b169\.254\.\d+\.\d+|\bmetadata\.(?:google|packet|azure|oraclecloud|tencentyun|goog)\b|\b(?:computemetadata|latest/(?:meta-data|user-data|dynamic|api/token)|metadata/v1|metadata/instance|opc/v\d/)\b|\b100\.100\.100\.200\b|\b192\.0\.0\.192\b|\[?fd00:ec2::254|\[::ffff:|\bkubernetes\.default\b|\bhost\.(?:docker|containers)\.internal\b|\brancher-metadata\b",
            r"\b(?:https?|s?ftp|ldaps?|wss?)\s*:\s*/{0,2}(?:[^\s/]*[@.\\#])?(?:localhost|127\.|0\.0\.0\.0|0x7f|2130706433|\[?::1?\]?|10\.\d+\.\d+\.\d+|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|[\w-]+(?:\.[\w-]+){0,4}\.(?:internal|local|localdomain)\b)",
            r":/{2,}(?:[^\s/@]*@)?(?:0x[0-9a-f]+|\d{8,10}|0[0-7]{9,11}|0|(?:0[oxq]?|[oq])\d+(?:\.\w+){1,3})(?:[:/?#\s\x22']|$)|:/{2,}[0:]*::\w|:/{2,}[^\s/]*\xe2[\x91-\x93][\x80-\xbf]|^\d+://|:/{2,}\[(?:[0:]*(?:1|ffff:[0-9a-f.:]+|:)?|f[cd][0-9a-f]{2}:[0-9a-f:]*|fe80:[0-9a-f:%]*)\]",
        ],
    },
    Rule {
        id: "address-internal-words",
        score: 5,
        looks_for: "the name of the machine itself as the start of an address",
        example: "localhost/admin",
        places: Places::FIELDS,
        patterns: &[
            r"^\s*(?:localhost\d?|ip6-\w+|127(?:\.\d+){1,3}|0\.0\.0\.0|\[::1?\]|[\w.-]*localdomain\d?|[\w.-]+\.internal|[\w.-]+\.cluster\.local)(?:\.localdomain\d?)?(?::[+\d]\w*)?(?:/|$)",
        ],
    },
];
