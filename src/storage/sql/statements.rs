//! Statements that are the same in both databases, except for a few words.

use sqlx::SqlStr;

use super::TableNames;
use super::rows::{GRANT_COLUMNS, TOKEN_COLUMNS};
use crate::record::{ClientId, Subject};
use crate::storage::GrantSelector;

/// The statements of one storage, rendered with its table names. Values are always bound.
pub(crate) struct Common {
    pub(crate) find: SqlStr,
    pub(crate) revoke_access_token: SqlStr,
    pub(crate) is_stored: SqlStr,
    pub(crate) list: BySelector,
    pub(crate) clients: ClientStatements,
    pub(crate) issuer: IssuerStatements,
    pub(crate) signing_keys: SigningKeysStatements,
}

/// The statements for the issuer: one row, or none.
pub(crate) struct IssuerStatements {
    pub(crate) claim: SqlStr,
    pub(crate) rebind: SqlStr,
    pub(crate) find: SqlStr,
}

/// The statements for the signing keys: one row, or none.
pub(crate) struct SigningKeysStatements {
    pub(crate) load: SqlStr,
    pub(crate) insert: SqlStr,
    pub(crate) replace: SqlStr,
}

pub(crate) struct ClientStatements {
    pub(crate) find: SqlStr,
    pub(crate) list: SqlStr,
    pub(crate) insert: SqlStr,
}

/// One statement for each kind of [`GrantSelector`], so that the database plans each separately. In all of them `$1` is
/// the identifier of the grant, `$2` the subject, `$3` the client and `$4` the session, even if they are not used.
pub(crate) struct BySelector {
    id: SqlStr,
    subject_and_id: SqlStr,
    subject: SqlStr,
    client: SqlStr,
    subject_and_client: SqlStr,
    session: SqlStr,
    subject_and_session: SqlStr,
}

impl Common {
    /// `as_json` is the SQL suffix that converts a bound text to JSON.
    pub(crate) fn new(names: &TableNames, as_json: &str) -> Self {
        let list = format!(
            "SELECT {GRANT_COLUMNS} FROM {{grants}} g WHERE {{selected}} \
             AND g.revoked_at IS NULL AND g.expires_at > $5 AND (g.opened_at, g.id) < ($6, $7) \
             ORDER BY g.opened_at DESC, g.id DESC LIMIT $8"
        );
        Self {
            find: names.render(&format!(
                "SELECT {TOKEN_COLUMNS}, {GRANT_COLUMNS} \
                 FROM {{tokens}} t JOIN {{grants}} g ON g.id = t.grant_id WHERE t.hash = $1"
            )),
            revoke_access_token: names.render(
                "UPDATE {tokens} SET revoked_at = $2 \
                 WHERE hash = $1 AND kind = 'access_token' AND revoked_at IS NULL",
            ),
            list: BySelector::new(names, &list),
            is_stored: names.render("SELECT 1 FROM {tokens} WHERE hash = $1"),
            clients: ClientStatements::new(names, as_json),
            issuer: IssuerStatements {
                claim: names.render("INSERT INTO {issuer} (id, issuer) VALUES (1, $1) ON CONFLICT DO NOTHING"),
                rebind: names.render("UPDATE {issuer} SET issuer = $2 WHERE issuer = $1"),
                find: names.render("SELECT issuer FROM {issuer}"),
            },
            signing_keys: SigningKeysStatements {
                load: names.render("SELECT version, value FROM {signing_keys}"),
                insert: names
                    .render("INSERT INTO {signing_keys} (id, version, value) VALUES (1, 1, $1) ON CONFLICT DO NOTHING"),
                replace: names.render("UPDATE {signing_keys} SET version = version + 1, value = $1 WHERE version = $2"),
            },
        }
    }
}

impl ClientStatements {
    fn new(names: &TableNames, as_json: &str) -> Self {
        Self {
            find: names.render("SELECT registration FROM {clients} WHERE id = $1"),
            list: names.render("SELECT registration FROM {clients} WHERE id > $1 ORDER BY id LIMIT $2"),
            insert: names.render(&format!(
                "INSERT INTO {{clients}} (id, registration) VALUES ($1, $2{as_json}) ON CONFLICT DO NOTHING"
            )),
        }
    }
}

impl BySelector {
    /// Renders the template once for each kind of selector, with the condition in place of `{selected}`.
    pub(crate) fn new(names: &TableNames, template: &str) -> Self {
        let with = |condition: &str| names.render(&template.replace("{selected}", condition));
        Self {
            id: with("g.id = $1"),
            subject_and_id: with("g.id = $1 AND g.subject = $2"),
            subject: with("g.subject = $2"),
            client: with("g.client_id = $3"),
            // The expression keeps the database from using the index of the client, which may have a million grants.
            // Without statistics, it might choose that index over the one of the subject.
            subject_and_client: with("g.subject = $2 AND g.client_id || '' = $3"),
            session: with("g.session = $4"),
            subject_and_session: with("g.subject = $2 AND g.session = $4"),
        }
    }

    pub(crate) fn of(&self, which: &GrantSelector) -> SqlStr {
        match which {
            GrantSelector::Id(_) => &self.id,
            GrantSelector::SubjectAndId(..) => &self.subject_and_id,
            GrantSelector::Subject(_) => &self.subject,
            GrantSelector::Client(_) => &self.client,
            GrantSelector::SubjectAndClient(..) => &self.subject_and_client,
            GrantSelector::Session(_) => &self.session,
            GrantSelector::SubjectAndSession(..) => &self.subject_and_session,
        }
        .clone()
    }
}

/// The parts of a selector, bound as `$1` to `$4` of [`BySelector`].
pub(crate) type Selected<'a> = (Option<&'a [u8]>, Option<&'a str>, Option<&'a str>, Option<&'a [u8]>);

/// Splits a selector into its parts.
pub(crate) fn selected(which: &GrantSelector) -> Selected<'_> {
    let (id, subject, client, session) = match which {
        GrantSelector::Id(id) => (Some(id), None, None, None),
        GrantSelector::SubjectAndId(subject, id) => (Some(id), Some(subject), None, None),
        GrantSelector::Subject(subject) => (None, Some(subject), None, None),
        GrantSelector::Client(client) => (None, None, Some(client), None),
        GrantSelector::SubjectAndClient(subject, client) => (None, Some(subject), Some(client), None),
        GrantSelector::Session(session) => (None, None, None, Some(session)),
        GrantSelector::SubjectAndSession(subject, session) => (None, Some(subject), None, Some(session)),
    };
    (
        id.map(|id| id.as_bytes().as_slice()),
        subject.map(Subject::as_str),
        client.map(ClientId::as_str),
        session.map(|session| session.as_bytes().as_slice()),
    )
}
