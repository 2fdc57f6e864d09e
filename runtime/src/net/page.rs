//! The try-it page, for development.

use super::router::Router;

const PAGE: &str = include_str!("page.html");
const PLACE: &str = "/*namespaces*/[]";

/// The page, with the namespaces that are served now.
pub(super) fn render(router: &Router) -> String {
    let namespaces: Vec<_> = router
        .routes()
        .into_iter()
        .map(|route| {
            serde_json::json!({
                "path": route.namespace.sockets().path(),
                "name": route.namespace.name,
                "middlewares": route.namespace.middlewares,
                "file": route.namespace.source,
            })
        })
        .collect();
    // Inside a script, `<` could end it.
    let json = serde_json::Value::from(namespaces)
        .to_string()
        .replace('<', "\\u003c");
    PAGE.replacen(PLACE, &json, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_place_for_the_namespaces() {
        assert_eq!(PAGE.matches(PLACE).count(), 1);
        assert!(render(&Router::default()).contains("const namespaces = [];"));
    }
}
