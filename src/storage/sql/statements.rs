//! Statements that read the same in both databases, but for a word here and there.

use sqlx::SqlStr;

use super::TableNames;
use super::rows::{GRANT_COLUMNS, TOKEN_COLUMNS};
use crate::storage::GrantSelector;

/// Where the databases differ.
pub(crate) struct Dialect {
    /// What makes JSON of a text that is bound.
    pub(crate) as_json: &'static str,
    /// What stands round a list of identifiers that an `UPDATE` is about: it is made once, and what is in it stays as it is.
    pub(crate) id_list: [&'static str; 2],
}

/// Statements with the names of one storage put in. Values are always bound.
pub(crate) struct Common {
    pub(crate) find: SqlStr,
    pub(crate) revoke_access_token: SqlStr,
    pub(crate) revoke: BySelector,
    pub(crate) list: BySelector,
    pub(crate) clients: ClientStatements,
}

pub(crate) struct ClientStatements {
    pub(crate) find: SqlStr,
    pub(crate) list: SqlStr,
    pub(crate) insert: SqlStr,
    pub(crate) update: SqlStr,
}

/// One statement for each kind of [`GrantSelector`], so that each has a plan of its own. In all of them `$1` is the grant's
/// identifier, `$2` the subject and `$3` the client, used or not.
pub(crate) struct BySelector {
    id: SqlStr,
    subject_and_id: SqlStr,
    subject: SqlStr,
    client: SqlStr,
    subject_and_client: SqlStr,
}

impl Common {
    pub(crate) fn new(names: &TableNames, dialect: &Dialect) -> Self {
        let [open, close] = dialect.id_list;
        let list = format!(
            "SELECT {GRANT_COLUMNS} FROM {{grants}} g WHERE {{selected}} \
             AND g.revoked_at IS NULL AND g.expires_at > $4 AND (g.opened_at, g.id) < ($5, $6) \
             ORDER BY g.opened_at DESC, g.id DESC LIMIT $7"
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
            revoke: BySelector::new(
                names,
                "UPDATE {grants} AS g SET revoked_at = $4 WHERE {selected} AND g.revoked_at IS NULL \
                 RETURNING opened_at, id",
                &format!(
                    "UPDATE {{grants}} SET revoked_at = $4 WHERE id {open}SELECT g.id FROM {{grants}} g WHERE {{selected}} \
                     AND g.revoked_at IS NULL AND (g.opened_at, g.id) < ($5, $6) \
                     ORDER BY g.opened_at DESC, g.id DESC LIMIT $7{close} RETURNING opened_at, id"
                ),
            ),
            list: BySelector::new(names, &list, &list),
            clients: ClientStatements::new(names, dialect),
        }
    }
}

impl ClientStatements {
    fn new(names: &TableNames, Dialect { as_json, .. }: &Dialect) -> Self {
        Self {
            find: names.render("SELECT registration FROM {clients} WHERE id = $1"),
            list: names.render("SELECT registration FROM {clients} WHERE id > $1 ORDER BY id LIMIT $2"),
            insert: names.render(&format!(
                "INSERT INTO {{clients}} (id, registration) VALUES ($1, $2{as_json}) ON CONFLICT DO NOTHING"
            )),
            update: names.render(&format!("UPDATE {{clients}} SET registration = $2{as_json} WHERE id = $1")),
        }
    }
}

impl BySelector {
    fn new(names: &TableNames, of_one: &str, of_many: &str) -> Self {
        let of = |template: &str, condition: &str| names.render(&template.replace("{selected}", condition));
        Self {
            id: of(of_one, "g.id = $1"),
            subject_and_id: of(of_one, "g.id = $1 AND g.subject = $2"),
            subject: of(of_many, "g.subject = $2"),
            client: of(of_many, "g.client_id = $3"),
            subject_and_client: of(of_many, "g.subject = $2 AND g.client_id = $3"),
        }
    }

    pub(crate) fn of(&self, which: &GrantSelector) -> SqlStr {
        match which {
            GrantSelector::Id(_) => &self.id,
            GrantSelector::SubjectAndId(..) => &self.subject_and_id,
            GrantSelector::Subject(_) => &self.subject,
            GrantSelector::Client(_) => &self.client,
            GrantSelector::SubjectAndClient(..) => &self.subject_and_client,
        }
        .clone()
    }
}

/// Whether at most one grant can be meant.
pub(crate) const fn is_of_one(which: &GrantSelector) -> bool {
    matches!(which, GrantSelector::Id(_) | GrantSelector::SubjectAndId(..))
}

/// What a selector names, as `$1` to `$3` of [`BySelector`].
pub(crate) fn selected(which: &GrantSelector) -> (Option<&[u8]>, Option<&str>, Option<&str>) {
    match which {
        GrantSelector::Id(id) => (Some(id.as_bytes()), None, None),
        GrantSelector::SubjectAndId(subject, id) => (Some(id.as_bytes()), Some(subject.as_str()), None),
        GrantSelector::Subject(subject) => (None, Some(subject.as_str()), None),
        GrantSelector::Client(client) => (None, None, Some(client.as_str())),
        GrantSelector::SubjectAndClient(subject, client) => (None, Some(subject.as_str()), Some(client.as_str())),
    }
}
