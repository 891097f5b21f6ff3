// refused: E0603
//! What a request names as its redirect URI is no target: that type has no name outside.

fn redirect(target: grantor::authorize::RedirectTarget) {
    drop(target);
}

fn main() {}
