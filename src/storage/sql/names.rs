//! The names of tables and indexes: the only variable part of a statement.

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use crate::error::StorageError;

/// The longest prefix. PostgreSQL cuts names at 63 bytes, which could make two names equal.
const LONGEST: usize = 40;

/// An optional schema and a prefix. Both are plain identifiers, so that they can't end a quoted name.
#[derive(Debug, Clone)]
pub(crate) struct TableNames {
    schema: Option<String>,
    prefix: String,
}

impl TableNames {
    pub(crate) fn new(schema: Option<&str>, prefix: &str) -> Result<Self, StorageError> {
        if !prefix.is_empty() && !is_identifier(prefix) || schema.is_some_and(|schema| !is_identifier(schema)) {
            return Err(StorageError::new(
                "the schema or table prefix is invalid: use 1 to 40 of the characters a-z, 0-9 and _, no digit first",
            ));
        }
        if prefix == "_sqlx_" {
            return Err(StorageError::new(
                "the table prefix _sqlx_ is reserved for the migrations of the host app: choose another one",
            ));
        }
        Ok(Self { schema: schema.map(str::to_owned), prefix: prefix.to_owned() })
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the name of a table, quoted and with its schema.
    pub(crate) fn table(&self, name: &str) -> String {
        let schema = self.schema.as_ref().map(|schema| format!("\"{schema}\".")).unwrap_or_default();
        format!("{schema}\"{}{name}\"", self.prefix)
    }

    /// Renders a statement template: `{tokens}` stands for a table, `{prefix:name}` for an index.
    pub(crate) fn render(&self, template: &str) -> SqlStr {
        let mut sql = template.to_owned();
        for table in ["clients", "grants", "tokens", "ephemeral", "issuer", "signing_keys"] {
            sql = sql.replace(&format!("{{{table}}}"), &self.table(table));
        }
        let sql = sql.replace("{prefix:", &format!("\"{}", self.prefix)).replace('}', "\"");
        // An `Arc`, because every use of a statement clones it.
        AssertSqlSafe(std::sync::Arc::<str>::from(sql)).into_sql_str()
    }
}

fn is_identifier(name: &str) -> bool {
    let is_start = |first: u8| first.is_ascii_lowercase() || first == b'_';
    name.len() <= LONGEST
        && name.bytes().next().is_some_and(is_start)
        && name.bytes().all(|byte| is_start(byte) || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_names_are_quoted_and_qualified() {
        let names = TableNames::new(Some("auth"), "o2_").unwrap();
        let sql = names.render("CREATE INDEX {prefix:by_grant} ON {tokens} (id) -- of {grants}");
        assert_eq!(sql.as_str(), r#"CREATE INDEX "o2_by_grant" ON "auth"."o2_tokens" (id) -- of "auth"."o2_grants""#);
        let bare = TableNames::new(None, "").unwrap().render("SELECT 1 FROM {clients}");
        assert_eq!(bare.as_str(), r#"SELECT 1 FROM "clients""#);
    }

    #[test]
    fn name_that_is_not_a_plain_identifier_is_refused() {
        for bad in ["_sqlx_", "a\"b", "a.b", "A", "1a", "a b", "a;", "é", &"x".repeat(41)] {
            assert!(TableNames::new(None, bad).is_err(), "{bad}");
            assert!(bad == "_sqlx_" || TableNames::new(Some(bad), "").is_err(), "{bad}");
        }
        assert!(TableNames::new(Some(""), "x").is_err());
        assert!(TableNames::new(Some("_a1"), &"x".repeat(40)).is_ok());
    }
}
