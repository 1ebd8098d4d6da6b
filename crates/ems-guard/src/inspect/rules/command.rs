//! Commands of shells. A separator, a path or an option has to stand beside a program's name: a
//! name alone is a word.

use super::{Places, Rule};

const GIVEN: Places = Places::GIVEN;
const ALL: Places = Places::STRICT.without(Places::AGENT).and(Places::PROSE);

/// Programs whose names are no words of a language.
macro_rules! programs {
    () => {
        r"(?:7z[arx]?|a2ping|a2query|aa-(?:exec|disable|enforce)|adduser|agetty|alpine|ansible(?:-\w+)?|apt(?:-get|-cache|itude)?|aria2c|arping|ar[pj]|aspell|gawk|aws|base(?:32|58|64|nc)|bash|b(?:un)?zip2|bridge|bsdtar|bpftrace|bunzip2|busctl|busybox|bzcat|bzdiff|c89|c99|capsh|certbot|chattr|chef-\w+|chfn|chgrp|chmod|choom|chown|chpass|chroot|chsh|clang(?:\+\+)?|cmp|cobc|composer|cowsay|cpan|cpio|cpulimit|crontab|cscli|csh|csplit|csvtool|cupsfilter|curl|dd|debugfs|df|dhclient|diff[3d]?|dig|dmesg|dmidecode|dmsetup|dnf|doas|docker|dosbox|dpkg|dstat|dvips|easy_install|efax|egrep|emacs|eqn|esac|esh|espeak|exiftool|fgrep|fping|ftp|g(?:\+\+|cc[\d.-]*|awk|db|hc|hci|imp|inno|it|tester|unzip|zcat|zexe|zip)|getent|getfacl|gettext|grep|groupadd|groupmod|gtester|hexdump|hping3|htdigest|htop|htpasswd|iconv|if(?:config|top)|ionice|iptables(?:-\w+)?|ip6tables|irb|ispell|java[cw]?|jjs|journalctl|jq|jrunscript|jshell|julia|killall|kubectl|ksh|kshell|last(?:comm|log|login)|ld(?:config|d)|lftp|ln|loginctl|logsave|ls(?:-F|attr|b_release|cpu|hw|mod|of|pci|usb)?|ltrace|lua(?:latex|tex)?|lwp-(?:d\w+|request|mirror)|lynx|lz(?:4c?|c(?:at|mp)|diff|[ef]?grep|less|ma|more)|mailx|mawk|mdfind|mkdir|mkfifo|mknod|mktemp|mlocate|mosquitto|mpg123|msfconsole|msgattrib|mtr|mutt|mv|mysql(?:admin|dump|hotcopy|show)?|nano|nasm|nawk|nc(?:at)?|netcat|netkit-ftp|netplan|netstat|nl|nm|nmap|nodejs|nohup|npm|npx|nroff|nsenter|nslookup|ntpdate|octave|openssl|openvpn|openvt|opkg|pacman|passwd|pax|pdb|pdf(?:la)?tex|perf|perl[\d.]*|pftp|php[\d.]*(?:-cgi|-fpm)?|pidstat|ping6?|pip[\d.]*|pkexec|pkg(?:_info|info|util)?|pkill|popd|printenv|printf|pry|ps(?:ed|ftp|ql)?|ptx|pushd|pwd|pwsh|python[\d.]*|rbash|rc\.\w+|readelf|realpath|restic|rksh|rlogin|rlwrap|rm(?:dir|mod|user|t|t-\w+)?|rpm(?:db|query|verify)?|rsh|rsync|ruby[\d.]*|rvim|rview|scp|sed|setarch|setfacl|setpriv|setsid|sftp|sg|sh|shuf|slsh|smbclient|socat|soelim|sqlite3?|ssh(?:-\w+|d|pass)?|ss|start-stop-daemon|stdbuf|stderr|strace|sudo|svn|sysctl|systemctl|systemd-\w+|tac|tailf|tar|tasksh|tbl|tclsh|tcpdump|tcping|tcptraceroute|tcsh|tee|telnet|terraform|tftp|tmux|traceroute6?|tshark|tsh|ul|ulimit|umount|un(?:ame|compress|expand|iq|lz(?:4|ma)|pigz|rar|set|zip|zstd|xz|link|share)|update-alternatives|useradd|userdel|usermod|uudecode|uuencode|valgrind|vi(?:gr|m(?:diff)?|pw|sudo)|virsh|wc|wget|whiptail|whoami|whois|wireshark|xargs|xelatex|xetex|xmodmap|xmore|xpad|xterm|xxd|xz(?:cat|cmp|d(?:ec|iff)|[ef]?grep|less|more)?|yarn|yelp|yum|z(?:athura|c(?:at|mp)|diff|[ef]?grep|ip(?:details|note|split|cloak)?|less|more|run|sh|soelim|std(?:cat|[ef]?grep|less|mt)?|ypper))"
    };
}

/// Programs whose names are words as well.
macro_rules! words {
    () => {
        r"(?:alias|arch|at|atom|awk|cat|cancel|dash|du|ed|env|expect|id|jobs|knife|look|lp|nice|node|puppet|rake|rename|rev|snap|split|strings|top|touch|users|vi|view|watch|wish|batch|bg|breaksw|builtin|bundler|cal|case|check|column|comm|command|continue|cp|cut|cd|date|dialog|dir|do|dnsmap|done|echo|edit|else|endif|eval|ex|exec|exit|export|expand|facter|factor|fetch|fg|file|find|finger|flock|fmt|fold|for|function|git|gem|gpg|groups|halt|head|hash|help|history|host|hostname|hostid|hub|if|install|join|kill|latex|ldconfig|less|links|local|locale|login|logname|m4|mail|make|man|mesg|more|mount|nasm|onintr|paste|patch|perms|pic|pico|poweroff|pr|pstree|ptar|rar|read|readlink|reboot|red|repeat|require|rpm|run-parts|screen|script|sendmail|service|set|setenv|shutdown|slaughter|sleep|sort|source|start|stat|sum|su|tail|task|test|time|timeout|trap|troff|tty|type|uptime|vagrant|vol|volatility|wall|who|while|wine|write|xdotool)"
    };
}

/// Programs and commands of Windows.
macro_rules! windows {
    () => {
        r"(?:at|attrib|bcdboot|bcdedit|bitsadmin|bootcfg|cacls|cmd|cmdkey|cscript|certutil|certreq|chkdsk|cipher|control|comp|csc|csvde|del|dir|diskpart|diskshadow|dnscmd|driverquery|dsquery|dsget|erase|esentutl|eventcreate|expand|explorer|findstr|forfiles|format|ftp|fsutil|getmac|gpresult|gpupdate|hostname|hh|icacls|ieexec|ipconfig|installutil|label|ldifde|logoff|lodctr|makecab|mkdir|mklink|mode|more|mount|move|mofcomp|mshta|msbuild|msiexec|mstsc|nbtstat|net[1]?|netdom|netsh|netstat|nltest|notepad|nslookup|ntbackup|ntdsutil|odbcconf|openfiles|pathping|ping|powershell|pwsh|psexec|query|rasdial|reg|regedit|regini|regsvr32|regsvcs|regasm|ren|rmdir|rd|robocopy|rundll32|route|runas|sc|schtasks|sfc|shutdown|sigverif|sort|start|subst|sysinfo|systeminfo|takeown|taskkill|tasklist|tracert|tree|type|vssadmin|wbadmin|wevtutil|whoami|winrm|winrs|wmic|wscript|xcopy|set\s+/a)(?:\.exe|\.com|\.cmd|\.bat|\.vbs)?"
    };
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "command-chained",
        score: 5,
        looks_for: "a separator of the shell and the name of a program behind it",
        example: ";netstat -an",
        places: GIVEN.and(Places::AGENT).without(Places::PATH),
        patterns: &[
            concat!(
                r"(?:^\s*[;|&]|[\w'\x22)\]}.]\s*(?:;|\||&&|\|\|)|[`]|\$\(|<\(|>\(|\$\{)\s*(?:\$?\w*[({=]\s*)?(?:(?:sudo|nohup|time|exec|command|eval|env)\s+)*(?:[\w.~*?-]*/)*",
                programs!(),
                r"(?:$|[\s;|&`)<>}/,'\x22$])"
            ),
            concat!(
                r"(?:^\s*['\x22]?\s*[;|&]+|;|\|\||&&|[`]|\$\()\s*(?:[\w.~*?-]*/)*",
                words!(),
                r"(?:\s*[|&`)<>]|\s-{1,2}\w|\s+[/~$\x22'*]|\s+\.{1,2}/|\s+\w+\.\w+\s*(?:$|[;|&])|\s+\w+/)"
            ),
            concat!(
                r"(?:^\s*['\x22]?\s*[;|&]+|\|\|?|&&|`|\$\()\s*(?:/?(?:\w+/)+)?",
                words!(),
                r"(?:\s+\d+)?\s*['\x22;|&#]*\s*$"
            ),
            concat!(
                r"\bcd\s+[\w./~-]+\s*(?:;|&&|\|\|)|(?:[\n\r]|\\[nr])\s*(?:",
                programs!(),
                "|",
                words!(),
                r")(?:\s+-{1,2}\w|\s+[/~$]\w)|(?:[\n\r]|\\[nr])\s*(?:id|ls|dir|env|set|whoami|pwd|uname|netstat|ifconfig|ipconfig)\s*(?:[;|&#]|\\[nr]|$)"
            ),
            concat!(
                r"(?:;|\||&&?|`|\n)\s*(?:[\w:.\\/%-]*[\\/])?",
                windows!(),
                r"(?:\s*/\w|\s+[/<>\\%$-]|\s+\w+\s+/|\s+\w:\\|\s*$|\s+\w+\.\w+|\s+\w+\s*=|\s+(?:user|view|start|stop|group|localgroup|process|query|add|accounts|config|url)\b)"
            ),
        ],
    },
    Rule {
        id: "command-chained-prose",
        score: 5,
        looks_for: "a separator and a program with an option, a path or nothing behind it",
        example: "x; wget http://a",
        places: ALL,
        patterns: &[
            concat!(
                r"(?:^['\x22\s]*[;|&]+|[;|\n\r]|\\[nr]|&&|\$\(|<\(|>\()\s*(?:sudo\s+)?(?:/?(?:\w+/)+)?",
                programs!(),
                r"(?:\s+-{1,2}[a-z]|\s+[/~]\w|\s+\$|\s+[a-z]\w*:\w|\s*>\s*[/&]|\s*\|\s*(?:(?:ba|z|k|da)?sh|tee|[ef]?grep|cat|base64|xargs|nc|head|tail|sort|awk|sed|tr)\b|\s*&&|\s*;\s*(?:$|[a-z]+\s+-|[a-z]+\s+/)|\s*`|\s+[a-z]\w*\.\w+\s*(?:$|[;|&])|\s+https?:|\s+\d+(?:\.\d+){3})"
            ),
            concat!(
                r"^['\x22\s]*[;|&]+\s*(?:",
                programs!(),
                "|",
                windows!(),
                r"|id|env|ls|cat|ps|who|sleep|kill|sysinfo)(?:\s*[;|&#'\x22]*\s*$|\s+(?:[-/\\~$%\d]|\w:\\))"
            ),
            r"[;|&]\s*(?:find|head|tail|rm|cp|mv|touch|tee|more|less)\s+(?:-\w+\s+)*[/~]|[;|&]\s*(?:export\s+)?\w+=\S+\s*[;|&]+\s*\$[a-z]|(?:^['\x22\s]*|[;|&]\s*)(?:cat|ls|dir|type)\s+(?:-\w+\s+)*(?:[/~\\]|\w:\\)|[;|]\s*cat\s+(?:\.|-\w)",
            r"(?:^['\x22\s]*|[;|&]\s*)(?:net\s+(?:(?:user|localgroup|view)\s*(?:$|[;|&\\/])|(?:use|share|session|group|accounts)\s+(?:\\|\w:\s|/)|(?:user|localgroup|group|accounts|use)\s[^.!?]*/(?:add|del|domain|active|persistent)\b)|netsh\s+\w+\s+\w|ipconfig\s*/\w|nltest\s*/\w)|\b(?:hklm|hkcu|hkey_\w+)\\",
            concat!(
                r"(?:^\s*[;|&`]+|\|\||&&)\s*",
                programs!(),
                r"\s*(?:$|[;|&#`])"
            ),
            r"[;|]\s*(?:id|ls|whoami|pwd|uname|ifconfig|netstat|env|ps|dir|ipconfig|systeminfo|reboot|sleep\s+\d+)(?:\s*[;|&#'\x22)]*\s*$|\s+-[a-z]|\s+[/~]\w)|[;|]\s*ping\s+(?:-[a-z]|\d+\.|localhost)|^['\x22\s]*&\s*(?:id|ls|whoami|pwd|uname|ifconfig|netstat|env|set|ps|dir|ipconfig|systeminfo)\s*['\x22&;|#\s]*$",
            r"^['\x22\s;|&]*/(?:usr/|local/)*s?bin/+[\w.-]+(?:\s+[-/]\S+)*\W*$|(?:[;|&\n]|\\n)\s*/(?:usr/|local/)*s?bin/+\w|\b(?:cat|xxd|tr|rev|base64|(?:ba|z|k)?sh)\b[^<>]*<<<|(?:[\n\r]|\\[nr])\s*(?:id|ls|dir|env|whoami|pwd|uname)\s*(?:[;|&#]|\\[nr])*\s*$",
            r"(?:^|[\s;|&+=])/[\w?*]*[?*][\w?*]*/[\w?*]*[?*]|/(?:etc|usr|s?bin|var)/\w*[?*]+\w|>\s*&?\s*/dev/(?:null|tcp|udp|shm)\b",
        ],
    },
    Rule {
        id: "command-substitution",
        score: 5,
        looks_for: "the output of a command put in by a shell",
        example: "$(whoami)",
        places: ALL,
        patterns: &[
            r"\$\(\s*\(?[\w/\\'\x22<$.]|\$\{(?:IFS|PATH|HOME|SHELL|\w+\s*[:#%/]|#|!|:|\w+\[)|\$IFS\b|\$\[\s*(?:\]|\d|\$)|\$\{\}|\$\{x?#|[<>]\(\s*[a-z]\w+(?:\s+[\w./-]+)?\s*\)|\w\$\(\s*\)|\{[\w\\'\x22]+,[^{}\s,]*/[^{}\s]*\}",
            concat!(
                r"(?:^[\s'\x22;|&]*|[\w)]|[=;|&]\s*)`\s*(?:/?(?:\w+/)+)?(?:",
                programs!(),
                r"|id|dir|env|cat|echo|sleep)(?:\s+[^`]*)?`(?:[\s'\x22;|&#]*$|[\w(;|&=])",
            ),
            concat!(
                r"[\w)=;|&]`\s*(?:/?(?:\w+/)+)?(?:",
                programs!(),
                r"|id|dir|env|cat|echo|sleep)\b[^`]*`|`\w+\$\{?IFS|`\s*cat\s*<<<|\w=\$'\w|&&\s*\$\w+\s*$|\|\s*\$[0@*]|%[a-z]+:~-?\d|\b\w\^\w\^\w\^|^\s*(?:whoami|ifconfig|ipconfig|netstat|uname)(?:\s+-\w+)?\s*$"
            ),
        ],
    },
    Rule {
        id: "command-substitution-words",
        score: 5,
        looks_for: "backquotes or variables of a shell in a field that is no prose",
        example: "`echo 1`",
        places: GIVEN.and(Places::AGENT),
        patterns: &[
            r"`[^`'\n]+`|\$\(|\$\{\w*\}|\$\{:|^\s*\$(?:SHELL|HOME|PATH|PWD|USER)\b|\$\{\s*\w+|\$\(\(|~[+-]\d*$|^!-?\d+!?-?\d*|^!!$|\{\s*,?\s*[\w-]+\s*(?:,\s*-?[\w/.-]+)+\s*\}",
        ],
    },
    Rule {
        id: "command-program",
        score: 5,
        looks_for: "the path of a program, or a program and what is given to it",
        example: "/usr/bin/perl -e 'print 1'",
        places: GIVEN.without(Places::PATH),
        patterns: &[
            r"(?:^|[\s=;|&'\x22`(])/?(?:usr/|local/|s)*s?bin/[\w\[?*]",
            concat!(
                r"^\s*['\x22\\(]?(?:(?:sudo|nohup|time|strace|exec|env|watch|timeout|nice|eval|xargs|busybox|setsid)[\s;]+)*(?:[\w.]*/)*",
                programs!(),
                r"['\x22]?(?:\s+(?:-{1,2}\w|[/~.$*<>|&%'\x22]|https?:|\w+\.\w+|\w+[/@:])|\s*[|<>]|\s*;|\s+(?:all|sh|bash|cmd|list|alerts|get|dump|decrypt|install|plugin|config|recipe)\b)"
            ),
            concat!(
                r"^\s*(?:(?:sudo|nohup|time|strace|exec|env|watch|nice|eval)[\s;]+)+",
                programs!(),
                r"(?:\s|$)"
            ),
            r"^\s*(?:cat|id|find|env|kill|tail|head|sort|cut|awk|node|cp|top|touch|split|strings|rev)\s+(?:-{1,2}\w|/|\.{1,2}/|~/|<)|^\s*(?:python[\d.]*|perl[\d.]*|ruby[\d.]*|nslookup|ansible|gunzip|zcat)\s+\w+\s*$|^\s*(?:ansible-\w+|chef-\w+|aa-(?:exec|disable|enforce)|apt-get|systemctl|journalctl)\s+\w|(?:^|\s)/\w{0,6}[?*]+[\w?*]{0,6}/[\w?*/]+|/\w*[?*]\w*/\w*[?*]\w*|^\s*(?:chef-\w+|ansible-\w+|whoami|ifconfig|ipconfig|phpinfo|cscli|visudo)\s*$",
            r"\b(?:ba|z|k|c|tc|da|a)?sh\s+-[cilp]\b|\b(?:python[\d.]*|perl[\d.]*|ruby[\d.]*|php[\d.]*|node|lua)\s+-[cemrw]{1,3}\b|\|\s*(?:ba|z|k|c|da)?sh\b|\b(?:nc|ncat|netcat)\s+-\w*[elvp]|>\s*&?\s*/(?:dev|tmp|etc|var)/|/dev/(?:tcp|udp|null|shm)|\b(?:wget|curl)\s+(?:-\S+\s+)*(?:https?:|\w+\.\w)|-wrapper\s+\w|\brm\s+-\w*[rf]|\bchmod\s+[+\d]|<<<",
            r"^\s*-{1,2}[a-z][\w-]*=['\x22]?[\w/|]|\bcat\s+(?:<|/|\.)|\btype\s+(?:%|\w:|\\)|%(?:systemdrive|windir|systemroot|comspec|temp|programfiles|userprofile|appdata)%",
        ],
    },
    Rule {
        id: "command-program-prose",
        score: 5,
        looks_for: "a shell or interpreter with a program as its argument",
        example: "bash -c 'id'",
        places: ALL,
        patterns: &[
            r"(?:^|[;|&=(`'\x22])\s*(?:/usr)?/bin/(?:ba|z|k|c|tc|da)?sh\b|/bin/(?:ba|z|k|c|tc|da)?sh\s+-\w|\b(?:ba|z|k|da)?sh\s+-c\s+\S|\bpowershell(?:\.exe)?\s+-\w|\bcmd(?:\.exe)?\s+/[ck]\b|/dev/tcp/|\b(?:nc|ncat|netcat)\s+(?:-\w+\s+)*-\w*[elvp]|\b(?:perl|python[\d.]*|ruby|php|lua|node)\s+-[ecr]\s*['\x22]|^\s*(?:wget|curl)\s+(?:-\S+\s+)*https?://\S+\s*$|^\s*-{1,2}[a-z][\w-]*=['\x22]\w|\b(?:wget|curl)\s+(?:-\S+\s+)*https?://\S+\s*(?:\||;|&&|-o)|\|\s*(?:ba)?sh\s*$|\brm\s+-rf?\s+[/~*]",
        ],
    },
    Rule {
        id: "command-alias",
        score: 5,
        looks_for: "a definition of the shell: an alias, a function, a trap",
        example: "alias a=curl",
        places: GIVEN.without(Places::PATH),
        patterns: &[
            r"^\s*alias\s+(?:[-+]\w\W*\s+)?\W{0,2}[\w.]+\W{0,2}\s*=|^\s*alias\s+\W*\w+|\btrap\s+['\x22]|[;|&]\s*(?:iwr|iwmi|iex|icm|gwmi|saps|sajb|gci|spps|irm)\s+[-\w(\x22'$]",
        ],
    },
    Rule {
        id: "command-shellshock",
        score: 5,
        looks_for: "a function of bash in a variable",
        example: "() { :;}; id",
        places: Places::ALL,
        patterns: &[r"\(\s*\)\s*\{\s*(?:[:_;}]|$|\w*\s*[:;])"],
    },
    Rule {
        id: "command-powershell",
        score: 5,
        looks_for: "a cmdlet of PowerShell",
        example: "Invoke-WebRequest http://a/b.ps1",
        places: GIVEN.and(Places::REFERER),
        patterns: &[
            r"\b(?:invoke|start|stop|new|get|set|add|remove|enable|disable|import|export|convertto|convertfrom|out|write|select|where|foreach|test|update|register|enter|copy|clear)-(?:webrequest|restmethod|expression|command|item(?:property)?|object|process|service|job|content|childitem|wmi\w+|cim\w+|eventlog|winevent|acl|credential|localuser|localgroup\w*|computerinfo|location|alias|variable|module|history|hotfix|securestring|scheduledtask|mppreference|firewallrule|netfirewallrule|pssession|psdrive|string|file|null|host|psprovider|clipboard|netipaddress|addomain\w*|aduser|date|member)\b",
            r"\b(?:downloadstring|downloadfile|frombase64string|iex\s*[(\s]+(?:\(|new|iwr|\$|['\x22])|iwr\s+(?:-\w+\s+)?https?:)|-(?:encodedcommand|executionpolicy|windowstyle)\s+\w|\[system\.\w+",
        ],
    },
    Rule {
        id: "command-powershell-prose",
        score: 5,
        looks_for: "such a cmdlet and what is given to it",
        example: "Get-Process | Out-File a",
        places: Places::PROSE,
        patterns: &[
            r"\b(?:invoke|start|stop|new|get|set|add|remove|import|export|convertto|convertfrom|out|write|select|where|foreach|test|copy)-(?:webrequest|restmethod|expression|command|item(?:property)?|object|process|service|job|content|childitem|wmi\w+|cim\w+|eventlog|winevent|acl|localuser|localgroup\w*|computerinfo|module|securestring|scheduledtask|mppreference|netfirewallrule|pssession|psdrive|string|file|host|clipboard|netipaddress|aduser)(?:\s+(?:-[a-z]|[$'\x22({]|https?:|\w:\\)|\s*[|;])|\binvoke-(?:webrequest|restmethod|expression|command)\b",
            r"\b(?:downloadstring|downloadfile|frombase64string|iex\s*[(\s]+(?:\(|new|iwr|\$|['\x22])|iwr\s+(?:-\w+\s+)?https?:)|-(?:encodedcommand|executionpolicy|windowstyle)\s+\w|\[system\.\w+",
        ],
    },
    Rule {
        id: "command-batch",
        score: 5,
        looks_for: "a loop or condition of the Windows command line",
        example: "for /f %a in (x) do echo %a",
        places: ALL,
        patterns: &[
            r"\bfor\s+(?:/[a-z]\s+)*(?:['\x22\\]?[^%()]*\s*)?%%?\S*\s+in\s*\(",
            r"\bfor\b[^%()]*%+[\w~@/-]*\s+in\s*\([^)]*\)\s*do\b",
            r"\bif\s+(?:/i\s+)?(?:not\s+)?(?:exist\s+\S+\s+(?:\(|\w+)|defined\s+\w+\s+(?:\(|set|echo|goto|call)|errorlevel\s+\d|\(?\s*[%\x22!\[(]*\S+[%\x22!\])]*\s*\b(?:equ|neq|lss|leq|gtr|geq)\b\s*\S|\x22?[%!]\S+\s*==)",
        ],
    },
    Rule {
        id: "command-batch-words",
        score: 5,
        looks_for: "such a condition in a field that is no prose",
        example: "if not exist x echo y",
        places: GIVEN.without(Places::PATH),
        patterns: &[
            r"^\W*if\s+(?:/i\s+)?(?:not\s+)?(?:\(?exist\b|\(?defined\b|errorlevel\b|.+==|.+\b(?:equ|neq|lss|leq|gtr|geq)\b)",
        ],
    },
    Rule {
        id: "command-program-windows",
        score: 5,
        looks_for: "a program of Windows and what is given to it",
        example: "certutil -urlcache -f http://a/b.exe",
        places: GIVEN.without(Places::PATH),
        patterns: &[
            concat!(
                r"(?:^|[;|&`=]\s*|\bcmd\s*/\w\s+)",
                windows!(),
                r"\s*(?:/\w|\s-\w|\s+%\w+%|\s+\w:\\|\s*<\s*\w|\s+\\\\|\s+https?:)"
            ),
            r"^\s*(?:net\s+(?:(?:user|localgroup|view)\s*(?:$|[;|&\\/])|(?:use|share|session|group|accounts)\s+(?:\\|\w:\s|/)|(?:user|localgroup|group|accounts|use)\s[^.!?]*/(?:add|del|domain|active|persistent)\b)|netsh\s+\w|reg\s+(?:add|query|delete|export)\s+\S|sc\s+(?:query|config|create)\s+\w)|\b(?:hklm|hkcu|hkey_\w+)\\|\b\w:\\(?:windows|winnt|program files|users|inetpub)\b|\\(?:system32|syswow64)\\|\b(?:powershell|cmd|rundll32|regsvr32|mshta|wscript|cscript|certutil|bitsadmin)(?:\.exe)?\s+\S",
        ],
    },
];
