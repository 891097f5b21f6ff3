//! HTML that is escaped by construction.

use grantor::authorize::escape;

/// A piece of HTML. It is put together by [`html!`], in which only literals are taken as they are.
#[derive(Debug, Default, Clone)]
pub(crate) struct Html(String);

impl Html {
    /// Markup. A literal of this program can't hold anything from outside.
    pub(crate) fn markup(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

/// What can be put into HTML.
pub(crate) trait Show {
    /// Appends itself, escaped unless it is HTML already.
    fn show(&self, html: &mut Html);
}

impl Show for str {
    fn show(&self, html: &mut Html) {
        html.0.push_str(&escape(self));
    }
}

impl Show for String {
    fn show(&self, html: &mut Html) {
        self.as_str().show(html);
    }
}

impl Show for usize {
    fn show(&self, html: &mut Html) {
        self.to_string().show(html);
    }
}

impl Show for Html {
    fn show(&self, html: &mut Html) {
        html.0.push_str(&self.0);
    }
}

impl<T: Show> Show for Option<T> {
    fn show(&self, html: &mut Html) {
        if let Some(value) = self {
            value.show(html);
        }
    }
}

impl<T: Show + ?Sized> Show for &T {
    fn show(&self, html: &mut Html) {
        (**self).show(html);
    }
}

impl FromIterator<Html> for Html {
    fn from_iter<I: IntoIterator<Item = Html>>(pieces: I) -> Self {
        Self(pieces.into_iter().map(Self::into_string).collect())
    }
}

/// Puts HTML together: literals are markup, values in parentheses are escaped.
macro_rules! html {
    (@piece $html:ident $markup:literal) => { $html.markup($markup) };
    (@piece $html:ident ($value:expr)) => { $crate::html::Show::show(&$value, &mut $html) };
    ($($piece:tt)*) => {{
        let mut html = $crate::html::Html::default();
        $($crate::html::html!(@piece html $piece);)*
        html
    }};
}
pub(crate) use html;

#[cfg(test)]
mod tests {

    #[test]
    fn values_are_escaped_and_literals_and_html_are_not() {
        let inner = html! { "<b>" ("<i>") "</b>" };
        let outer = html! { "<a title=\"" ("\"'&") "\">" (inner) (Some("x")) (None::<&str>) (3_usize) "</a>" };
        assert_eq!(outer.into_string(), "<a title=\"&quot;&#39;&amp;\"><b>&lt;i&gt;</b>x3</a>");
    }
}
