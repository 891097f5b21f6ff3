use actix_web::web::{Data, get, post};
use actix_web::{App, HttpResponse, HttpServer, Result};
use grantor::actix::{require, routes, run_to_completion};
use grantor::{Approval, AuthorizationServer, Interaction, MemoryStorage, Request};
use grantor::{Access, BearerError};
use your_app::{Session, consent_page, field, login_page, login_succeeds}; // yours

pub async fn serve() -> std::result::Result<(), Box<dyn std::error::Error>> {
    // Build the server outside of the closure below, which runs once for each worker.
    let oauth = AuthorizationServer::builder("https://id.example.com")
        .storage(MemoryStorage::new()) // SqliteStorage, PostgresStorage, your own
        .scope("user:read", "Read your profile")
        .scope("user:write", "Change your profile")
        .build()
        .await?;
    let app = move || {
        App::new()
            .configure(routes(&oauth)) // also adds Data<AuthorizationServer>
            .route("/authorize", get().to(authorize))
            .route("/authorize", post().to(authorize))
            .route("/login", post().to(log_in))
            .route("/consent", post().to(decide))
            .route("/me", get().to(me).wrap(require(&oauth, ["user:read"])))
    };
    Ok(HttpServer::new(app).bind(("127.0.0.1", 8080))?.run().await?)
}

/// The authorization endpoint: the library decides what has to happen next.
async fn authorize(
    oauth: Data<AuthorizationServer>,
    session: Session,
    request: Request,
) -> HttpResponse {
    match oauth.interaction(&request, session.user()).await {
        // After the login, the browser must return to this address.
        Interaction::Login(login) => login_page(&login.return_target()),
        Interaction::SelectAccount(accounts) => login_page(&accounts.return_target()),
        Interaction::Consent(consent) => {
            let page = consent_page(&consent, &consent.form_token(session.form_secret()));
            grantor::Response::page(200, page).into()
        }
        // The user agreed before, or the client is your own.
        Interaction::Proceed(proceed) => run_to_completion(proceed.approve()).await.into(),
        // An error, for the browser or for the client.
        Interaction::Respond(response) => response.into(),
    }
}

/// Your login. It redirects only to targets of this server.
async fn log_in(oauth: Data<AuthorizationServer>, request: Request) -> HttpResponse {
    let target = field(&request, "return_target");
    let to = |place: &str| {
        HttpResponse::SeeOther().insert_header(("location", place.to_owned())).finish()
    };
    match oauth.check_return_target(&target) {
        Some(target) if login_succeeds(&request) => to(target),
        Some(target) => login_page(target),
        None => to("/"),
    }
}

/// The form of the consent page.
async fn decide(
    oauth: Data<AuthorizationServer>,
    session: Session,
    request: Request,
) -> Result<HttpResponse> {
    // The form is forged, changed or too old: a page that leads back to the request.
    let (consent, form) = oauth.resume_form(&request, session.form_secret()).await?;
    Ok(match session.user() {
        Some(user) if form.approved => {
            let approval = Approval::by(user).scope(form.scope);
            run_to_completion(consent.approve(approval)).await.into()
        }
        _ => run_to_completion(consent.deny()).await.into(),
    })
}

/// Your API. `require` responds with 401 if the token is missing, and 403 if the scope is missing.
async fn me(access: Access) -> Result<String, BearerError> {
    Ok(format!("You are {}.", access.user()?)) // a token without a user gets 403
}
