//! Every dependency in the workspace's manifest earns its place: a comment above it says why.

use super::Finding;

/// The dependencies without a reason. A comment covers the lines below it up to the next blank one;
/// a section's heading (`# --- … ---`) gives no reason. Our own crates need none.
pub(super) fn findings(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_dependencies = false;
    let mut has_reason = false;
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.starts_with('[') {
            in_dependencies = text == "[workspace.dependencies]";
        }
        if text.is_empty() || text.starts_with("# ---") {
            has_reason = false;
        } else if text.starts_with('#') {
            has_reason = true;
        } else if let Some((name, what)) = text.split_once(" = ")
            && in_dependencies
            && !has_reason
            && !what.contains("path = ")
        {
            let message = format!("`{name}`: say in a comment above why it is needed");
            findings.push(Finding::new(path, line, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        let found = findings("Cargo.toml", &format!("[workspace.dependencies]\n{text}"));
        found.into_iter().map(|f| f.line).collect()
    }

    #[test]
    fn a_dependency_without_a_reason_is_named() {
        assert_eq!(lines("serde = \"1\"\n"), [2]);
        assert_eq!(
            lines("# Wire types.\nserde = \"1\"\nserde_json = \"1\"\n"),
            [0; 0]
        );
        assert_eq!(lines("# Wire types.\nserde = \"1\"\n\ncsv = \"1\"\n"), [5]);
    }

    #[test]
    fn a_heading_is_no_reason() {
        assert_eq!(lines("# --- data ---\nserde = \"1\"\n"), [3]);
    }

    #[test]
    fn our_own_crates_and_other_sections_need_none() {
        assert_eq!(lines("ems-core = { path = \"crates/ems-core\" }\n"), [0; 0]);
        assert_eq!(lines("[profile.release]\nlto = \"thin\"\n"), [0; 0]);
    }
}
