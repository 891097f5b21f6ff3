use actix_web::{HttpResponse, ResponseError};
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

impl ResponseError for AppError {
    fn error_response(&self) -> HttpResponse {
        match self {
            Self::Token(error) => error.error_response(), // 401 or 403 with a challenge
            Self::Form(error) => error.error_response(),  // a page, or a redirect to the client
            Self::Database(_) => HttpResponse::InternalServerError().finish(),
        }
    }
}

async fn me(access: Access) -> Result<String, AppError> {
    let user = access.user()?;
    Ok(std::fs::read_to_string(user.as_str())?)
}
