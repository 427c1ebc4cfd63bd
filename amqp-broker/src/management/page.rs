//! The page for people. It is static, and gets all that it shows from the management API.

use axum::{
    Router,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::service::Service;

/// The policy of the page: a browser loads files of this listener, and nothing that is written into
/// the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const JS: &str = "text/javascript; charset=utf-8";

/// The files, each with its path and its type.
const FILES: &[(&str, &str, &str)] = &[
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/index.html", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("/app.js", JS, include_str!("page/app.js")),
    ("/parts/api.js", JS, include_str!("page/parts/api.js")),
    ("/parts/dom.js", JS, include_str!("page/parts/dom.js")),
    ("/parts/format.js", JS, include_str!("page/parts/format.js")),
    ("/parts/list.js", JS, include_str!("page/parts/list.js")),
    ("/parts/notices.js", JS, include_str!("page/parts/notices.js")),
    ("/parts/plot.js", JS, include_str!("page/parts/plot.js")),
    ("/parts/poll.js", JS, include_str!("page/parts/poll.js")),
    ("/parts/routes.js", JS, include_str!("page/parts/routes.js")),
    ("/parts/table.js", JS, include_str!("page/parts/table.js")),
    ("/parts/traffic.js", JS, include_str!("page/parts/traffic.js")),
    ("/views/connection.js", JS, include_str!("page/views/connection.js")),
    ("/views/exchange.js", JS, include_str!("page/views/exchange.js")),
    ("/views/lists.js", JS, include_str!("page/views/lists.js")),
    ("/views/messages.js", JS, include_str!("page/views/messages.js")),
    ("/views/overview.js", JS, include_str!("page/views/overview.js")),
    ("/views/queue.js", JS, include_str!("page/views/queue.js")),
];

/// The routes of the page.
pub(super) fn routes() -> Router<Service> {
    FILES.iter().fold(Router::new(), |router, &(path, kind, text)| {
        router.route(path, get(move || async move { file(kind, text) }))
    })
}

fn file(kind: &'static str, text: &'static str) -> Response {
    const SECURITY: (HeaderName, HeaderValue) =
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    ([SECURITY, (header::CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;

    #[test]
    fn every_file_of_the_page_is_served_and_all_together_are_small() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/management/page");
        let mut there = BTreeSet::new();
        for folder in ["", "parts", "views"] {
            let files = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
            for file in files.filter(|file| file.is_file()) {
                there.insert(format!("/{}", file.strip_prefix(&root).unwrap().display()));
            }
        }
        let served: BTreeSet<_> = FILES.iter().map(|(path, ..)| (*path).to_owned()).collect();
        assert_eq!(there.difference(&served).collect::<Vec<_>>(), Vec::<&String>::new());
        let size: usize = FILES.iter().filter(|(path, ..)| *path != "/").map(|(.., text)| text.len()).sum();
        assert!(size <= 60 << 10, "{size}");
    }
}
