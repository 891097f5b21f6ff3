//! Code of the host app: an authenticator, pages and a grant handler. They record everything that they receive, and
//! panic on request.

use async_trait::async_trait;
use grantor::authorize::{ConfirmRedirectPage, DefaultPages, ErrorPage, OutOfBandPage, PageTemplates};
use grantor::error::AuthenticatorError;
use grantor::grant_type::{Decision, GrantContext, GrantHandler, OpenGrant};
use grantor::{Authenticator, ClientAttempt, GrantType, RefreshToken, ResourceOwnerAttempt, Subject, Verdict};
use serde_json::json;

use crate::watch::Watch;
use crate::{PASSWORD, UNLUCKY};

/// Checks passwords and secrets, and records its arguments.
#[derive(Clone)]
pub(crate) struct WatchedUsers(pub(crate) Watch);

#[async_trait]
impl Authenticator for WatchedUsers {
    async fn authenticate_client(&self, attempt: &ClientAttempt<'_>) -> Result<Verdict<()>, AuthenticatorError> {
        self.0.show("client attempt", attempt);
        Ok(if attempt.matches_a_digest() { Verdict::Accepted(()) } else { Verdict::Rejected })
    }

    async fn authenticate_resource_owner(
        &self,
        attempt: &ResourceOwnerAttempt<'_>,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        self.0.show("resource owner attempt", attempt);
        assert!(attempt.username != UNLUCKY, "the host's authenticator fell over");
        if attempt.username == "nobody can tell" {
            return Err(AuthenticatorError::new("the directory does not answer"));
        }
        if attempt.password.expose() == PASSWORD {
            return Ok(Verdict::Accepted(Subject::new(attempt.username).unwrap()));
        }
        Ok(Verdict::Rejected)
    }
}

pub(crate) struct WatchedPages(pub(crate) Watch);

impl PageTemplates for WatchedPages {
    fn error(&self, page: &ErrorPage<'_>) -> String {
        self.0.show("error page", page);
        DefaultPages.error(page)
    }

    fn out_of_band(&self, page: &OutOfBandPage<'_>) -> String {
        self.0.show("out-of-band page", page);
        DefaultPages.out_of_band(page)
    }

    fn confirm_redirect(&self, page: &ConfirmRedirectPage<'_>) -> String {
        self.0.show("confirmation page", page);
        assert!(!page.location.contains(UNLUCKY), "the host's page fell over");
        DefaultPages.confirm_redirect(page)
    }
}

/// An extension grant that records everything a handler can read.
pub(crate) struct WatchedGrant {
    pub(crate) name: GrantType,
    pub(crate) watch: Watch,
}

#[async_trait]
impl GrantHandler for WatchedGrant {
    fn grant_type(&self) -> &GrantType {
        &self.name
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["token", "action"]
    }

    async fn decide(&self, context: &GrantContext<'_>) -> Result<Decision, grantor::Error> {
        self.watch.show("grant context", context);
        self.watch.show("authenticated client", context.client());
        self.watch.show("parameters", context.params());
        let scope = context.scope()?;
        let id_token = json!("an-id-token-that-is-nobodys-business");
        let decision = match context.params().get("action")? {
            None => Decision::open(
                OpenGrant::new(scope).host_data(json!({ "note": "host data that is nobody's business" })).response(
                    |members| {
                        members.extra.insert("id_token".to_owned(), id_token);
                        self.watch.show("response members", members);
                    },
                ),
            ),
            Some(UNLUCKY) => panic!("the host's grant handler fell over"),
            Some(_) => {
                let token = RefreshToken::new(context.params().require("token")?);
                let presented = context.find(token).await?;
                self.watch.show("presented token", &presented);
                self.watch.show("stored token", presented.token());
                self.watch.show("grant", presented.grant());
                Decision::open(OpenGrant::new(scope))
            }
        };
        self.watch.show("decision", &decision);
        Ok(decision)
    }
}
