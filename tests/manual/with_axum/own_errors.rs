use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use grantor::{Access, AuthorizationError, BearerError};

#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Token(#[from] BearerError),
    #[error(transparent)]
    Form(#[from] AuthorizationError),
    #[error("the database failed")]
    Database(#[from] std::io::Error),
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        match self {
            Self::Token(error) => error.into_response(), // 401 or 403 with a challenge
            Self::Form(error) => error.into_response(),  // a page, or a redirect to the client
            Self::Database(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

pub async fn me(access: Access) -> Result<String, AppError> {
    let user = access.user()?;
    Ok(std::fs::read_to_string(user.as_str())?)
}
