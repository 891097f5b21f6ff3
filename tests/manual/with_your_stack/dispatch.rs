use grantor::{AuthorizationServer, Request, Response, Route, ServedBy};

/// Returns how many bytes of the body to read.
pub fn max_body(oauth: &AuthorizationServer, path: &str) -> usize {
    oauth.route(path).map_or(oauth.policy().max_body, Route::max_body)
}

pub async fn answer(oauth: &AuthorizationServer, request: &Request) -> Option<Response> {
    match oauth.route(request.path()).map(Route::served_by) {
        // With every method: unsupported methods get the 405 of that endpoint.
        Some(ServedBy::Library) => Some(oauth.handle(request).await),
        _ => None, // /authorize, /consent and your API are yours
    }
}
