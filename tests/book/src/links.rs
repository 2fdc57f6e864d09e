//! Where the links of a Markdown page lead.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::workspace;

/// What is wrong with the page's links: to a file that is not there, to a heading that is not there, or out of the
/// workspace. Links to other sites are not looked at.
///
/// # Panics
/// When a page cannot be read.
#[must_use]
pub fn broken(page: &Path) -> Vec<String> {
    let root = workspace();
    let mut broken = Vec::new();
    for link in Page::of(page).links {
        let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
        let target = resolve(page, path);
        let wrong = if !target.starts_with(&root) {
            "leads out of the repository"
        } else if !target.exists() {
            "leads to nothing"
        } else if heading.is_empty() {
            continue;
        } else if target.extension().is_none_or(|end| end != "md") {
            "names a heading of what has none"
        } else if !Page::of(&target).headings.iter().any(|it| it == heading) {
            "leads to a heading that is not there"
        } else {
            continue;
        };
        let page = page.strip_prefix(&root).unwrap_or(page);
        broken.push(format!("{}: {link} {wrong}", page.display()));
    }
    broken
}

/// The files that the page links to.
///
/// # Panics
/// When the page cannot be read.
#[must_use]
pub fn targets(page: &Path) -> Vec<PathBuf> {
    let links = Page::of(page).links;
    let paths = links
        .iter()
        .map(|link| link.split('#').next().unwrap_or(""));
    paths.map(|path| resolve(page, path)).collect()
}

struct Page {
    /// Those within the repository.
    links: Vec<String>,
    /// As they are called in links.
    headings: Vec<String>,
}

impl Page {
    fn of(path: &Path) -> Self {
        let text = std::fs::read_to_string(path);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut page = Self {
            links: Vec::new(),
            headings: Vec::new(),
        };
        let mut seen = HashMap::new();
        let mut heading = None::<String>;
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. })
                    if !is_of_another_site(&dest_url) =>
                {
                    page.links.push(dest_url.to_string());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::End(TagEnd::Heading(_)) => {
                    let slug = slug(&heading.take().unwrap_or_default());
                    let before: &mut usize = seen.entry(slug.clone()).or_default();
                    page.headings.push(match before {
                        0 => slug,
                        _ => format!("{slug}-{before}"),
                    });
                    *before += 1;
                }
                _ => {}
            }
        }
        page
    }
}

fn is_of_another_site(link: &str) -> bool {
    let scheme = link.split_once(':').map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| scheme.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

/// What viewers make of a heading: lower case, no punctuation, hyphens for spaces.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        _ => c.is_alphanumeric().then_some(c),
    });
    kept.collect::<String>().to_lowercase()
}

fn resolve(page: &Path, link: &str) -> PathBuf {
    if link.is_empty() {
        return page.to_owned();
    }
    let mut resolved = page.parent().expect("a page lies in a folder").to_owned();
    for component in Path::new(link).components() {
        match component {
            Component::ParentDir => {
                resolved.pop();
            }
            Component::CurDir => {}
            other => resolved.push(other),
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_called_as_viewers_call_them() {
        assert_eq!(slug("What a client sees"), "what-a-client-sees");
        assert_eq!(slug("Errors, traps and time"), "errors-traps-and-time");
        assert_eq!(slug("socket.send"), "socketsend");
    }

    #[test]
    fn what_is_wrong_is_found() {
        let target = workspace().join("target");
        std::fs::create_dir_all(&target).expect("target/ can be made");
        let folder = tempfile::tempdir_in(target).expect("a folder can be made in it");
        let page = folder.path().join("page.md");
        let text = "# A page\n## Twice\n## Twice\n[a](#a-page) [b](#twice-1) [c](#twice-2) [d](other.md) [e](page.md) \
            [f](../../../elsewhere.md) [g](https://example.com/#x)\n";
        std::fs::write(&page, text).expect("the page can be written");
        let broken = broken(&page);
        assert_eq!(broken.len(), 3, "{broken:?}");
        assert!(broken[0].ends_with("#twice-2 leads to a heading that is not there"));
        assert!(broken[1].ends_with("other.md leads to nothing"));
        assert!(broken[2].ends_with("elsewhere.md leads out of the repository"));
    }
}
