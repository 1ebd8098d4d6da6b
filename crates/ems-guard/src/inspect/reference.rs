//! The page of the rules, for `docs/reference`.

use std::fmt::Write as _;

use super::CATEGORIES;

const HEAD: &str = "# Rules of the inspection

A request is judged by what these rules find in it. Each adds its score once; a request whose sum
reaches `guard.threshold` (5) is answered 403 `request_blocked` where `guard.inspection` is `block`,
and told as `suspicious_pattern` in `security.log`: `details.rules` names the rules, `details.score`
is the sum, `details.place` says where the first of them was.

A rule that blames what is meant well is allowed where that happens, and stays in force elsewhere:

```toml
[guard]
allow_rules = [{ rule = \"sql-tokens\", route = \"/api/v1/data\", field = \"location\" }]
```

`route` is the template of a route, `field` the name of a field, parameter or header field; without
one of them the rule is allowed on every route, in every field. With `guard.inspection = \"detect\"`
everything is told and nothing blocked: a way to find what to allow before blocking.

What is not found: in a field that people write in (`location`, `name`, `note` and their like), a
command or a clause with nothing beside it (`net view`, `order by 5`), a word taken apart by quotes
alone, one step up (`../a`) and an address of another machine, since people write such things; a
quote or a bracket alone anywhere. What is blamed though it is meant well: manuals of programs, about
one text in a hundred, where they show commands, files of secrets or the types of a language in angle
brackets; of other prose about one text in a thousand.
";

/// The page.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for category in CATEGORIES {
        let _ = write!(
            page,
            "\n## {}\n\n| rule | score | looks for | for example |\n|---|---|---|---|\n",
            category.name
        );
        for rule in category.rules {
            let shown = rule
                .example
                .escape_default()
                .to_string()
                .replace("\\'", "'")
                .replace("\\\"", "\"");
            let example = shown.replace('|', "\\|");
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | `` {example} `` |",
                rule.id,
                rule.score,
                rule.looks_for.replace('|', "\\|")
            );
        }
    }
    page
}
