//! The settings reference: a Markdown page made from the default file and its comments.
//!
//! The comments are thus the one place where a setting is explained, and the page cannot lag behind.

use std::fmt::Write as _;

use super::DEFAULT_FILE;

/// The page, as `cargo xtask gen` writes it.
pub fn markdown() -> String {
    render(DEFAULT_FILE)
}

/// Renders a default file: comment lines, then the section or setting that they are about.
fn render(file: &str) -> String {
    let mut page = String::from("# Settings\n");
    let mut comment: Vec<&str> = Vec::new();
    let mut section = "";
    for line in file.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push(text.trim());
            continue;
        }
        let said = comment.join(" ");
        comment.clear();
        if line.is_empty() {
            if !said.is_empty() {
                let _ = write!(page, "\n{said}\n");
            }
        } else if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name;
            let _ = write!(
                page,
                "\n## `[{name}]`\n\n{said}\n\n| setting | default | variable | meaning |\n|---|---|---|---|\n"
            );
        } else if let Some((key, value)) = line.split_once(" = ") {
            let variable = format!("EMS_{section}__{key}").to_uppercase();
            let meaning = said.replace('|', "\\|");
            let _ = writeln!(page, "| `{key}` | `{value}` | `{variable}` | {meaning} |");
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_a_section_and_a_setting_with_their_comments() {
        let page =
            render("# Head.\n\n# Doors.\n[server]\n# Where, or\n# \"a|b\".\nlisten = \"x:1\"\n");
        assert_eq!(
            page,
            "# Settings\n\nHead.\n\n## `[server]`\n\nDoors.\n\n| setting | default | variable | meaning |\n\
             |---|---|---|---|\n| `listen` | `\"x:1\"` | `EMS_SERVER__LISTEN` | Where, or \"a\\|b\". |\n"
        );
    }

    #[test]
    fn every_setting_of_the_default_file_is_explained() {
        let page = markdown();
        let table: toml::Table = DEFAULT_FILE.parse().unwrap();
        let settings: usize = table
            .values()
            .filter_map(toml::Value::as_table)
            .map(toml::Table::len)
            .sum();
        let rows: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with("| `"))
            .collect();
        assert_eq!(rows.len(), settings);
        for row in rows {
            assert!(!row.ends_with("|  |"), "no comment: {row}");
        }
    }
}
