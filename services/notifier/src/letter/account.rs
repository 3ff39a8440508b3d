//! What people are told about their accounts.

use askama::Template;
use events::{UserChange, UserNoticed, display};
use platform::signed_links::{Links, Purpose};

use super::{Letter, render};

/// Says what happened to an account, with the link that goes on from there.
pub fn account(notice: &UserNoticed, links: &Links) -> Letter {
    let home = links.base_url();
    let page = match notice.happened {
        UserChange::SignedUp => AccountPage {
            subject: "Confirm your Tickbell account",
            lead: format!(
                "Somebody, we hope you, asked for a Tickbell account with this address at {}.",
                display::time(notice.at)
            ),
            link: Some(("Yes, make my account", links.url(Purpose::Join, notice.subject_id))),
            end: "The link is good for 48 hours. If it was not you, or not at that time, ignore this mail: whoever asked \
                  has chosen the account's password, and without your yes there is no account."
                .into(),
            home,
        },
        UserChange::SignedUpAgain => AccountPage {
            subject: "You have a Tickbell account already",
            lead: "Somebody, we hope you, asked for a Tickbell account with this address. It has one already: sign in \
                   with its password."
                .into(),
            link: None,
            end: format!(
                "If you have forgotten it, ask for a new one: POST {home}/v1/password-resets with this address. If it \
                 was not you, do nothing: nobody has learned that there is an account."
            ),
            home,
        },
        UserChange::ResetRequested => AccountPage {
            subject: "Reset your Tickbell password",
            lead: "Somebody, we hope you, asked for a new password for the Tickbell account of this address.".into(),
            link: Some(("Choose a new password", links.url(Purpose::Reset, notice.subject_id))),
            end: "The link is good for one hour, once. If it was not you, do nothing: the password stays as it is."
                .into(),
            home,
        },
        UserChange::PasswordChanged => AccountPage {
            subject: "Your Tickbell password was changed",
            lead: format!(
                "The password of your Tickbell account was changed at {}. Every other session has ended, and every API \
                 key is revoked.",
                display::time(notice.at)
            ),
            link: None,
            end: format!(
                "If it was not you, ask for a new one at once: POST {home}/v1/password-resets with this address. Setting \
                 it ends every session and revokes every API key."
            ),
            home,
        },
        UserChange::SignedOutEverywhere => AccountPage {
            subject: "You are signed out of Tickbell everywhere",
            lead: format!(
                "Every session of your Tickbell account was ended at {}, and every API key is revoked.",
                display::time(notice.at)
            ),
            link: None,
            end: format!(
                "Sign in again where you want to. If it was not you, somebody else was signed in: ask for a new password \
                 at once: POST {home}/v1/password-resets with this address."
            ),
            home,
        },
    };
    let (text, html) = (render(&AccountText { page: &page }), render(&page));
    Letter { subject: page.subject.to_owned(), text, html, unsubscribe: None }
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    subject: &'static str,
    lead: String,
    /// What a click does, and where it leads.
    link: Option<(&'static str, String)>,
    end: String,
    home: &'a str,
}

#[derive(Template)]
#[template(path = "account.txt")]
struct AccountText<'a> {
    page: &'a AccountPage<'a>,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::letter::tests::links;

    fn letter(happened: UserChange) -> Letter {
        let at = "2018-04-05T13:45:00Z".parse().expect("a time");
        let notice = UserNoticed { notice_id: Uuid::from_u128(8), happened, subject_id: Uuid::from_u128(9), at };
        account(&notice, &links())
    }

    fn check(happened: UserChange, expected: &str) {
        let letter = letter(happened);
        assert_eq!(letter.text, expected);
        assert!(expected.starts_with(&letter.subject) && letter.html.contains(&letter.subject));
        assert!(letter.unsubscribe.is_none() && !letter.html.contains("<img") && !letter.html.contains("<script"));
        for line in expected.lines().filter(|line| line.starts_with("https://")) {
            assert!(letter.html.contains(&format!("href=\"{line}\"")), "{line} in {}", letter.html);
        }
    }

    #[test]
    fn a_sign_up_is_asked_for_a_yes() {
        let link = links().url(Purpose::Join, Uuid::from_u128(9));
        check(
            UserChange::SignedUp,
            &format!(
                "Confirm your Tickbell account

Somebody, we hope you, asked for a Tickbell account with this address at 5 Apr 2018 13:45:00 UTC.

Yes, make my account:
{link}

The link is good for 48 hours. If it was not you, or not at that time, ignore this mail: whoever asked has chosen the \
             account's password, and without your yes there is no account.

--
Tickbell at https://bell.example.com"
            ),
        );
    }

    #[test]
    fn who_has_an_account_is_told_so_and_how_to_get_in() {
        check(
            UserChange::SignedUpAgain,
            "You have a Tickbell account already

Somebody, we hope you, asked for a Tickbell account with this address. It has one already: sign in with its password.

If you have forgotten it, ask for a new one: POST https://bell.example.com/v1/password-resets with this address. If it \
             was not you, do nothing: nobody has learned that there is an account.

--
Tickbell at https://bell.example.com",
        );
    }

    #[test]
    fn a_new_password_is_a_click_away() {
        let link = links().url(Purpose::Reset, Uuid::from_u128(9));
        check(
            UserChange::ResetRequested,
            &format!(
                "Reset your Tickbell password

Somebody, we hope you, asked for a new password for the Tickbell account of this address.

Choose a new password:
{link}

The link is good for one hour, once. If it was not you, do nothing: the password stays as it is.

--
Tickbell at https://bell.example.com"
            ),
        );
    }

    #[test]
    fn a_changed_password_is_told_with_what_to_do_if_it_was_somebody_else() {
        check(
            UserChange::PasswordChanged,
            "Your Tickbell password was changed

The password of your Tickbell account was changed at 5 Apr 2018 13:45:00 UTC. Every other session has ended, and every \
             API key is revoked.

If it was not you, ask for a new one at once: POST https://bell.example.com/v1/password-resets with this address. \
             Setting it ends every session and revokes every API key.

--
Tickbell at https://bell.example.com",
        );
    }

    #[test]
    fn who_is_signed_out_everywhere_is_told_with_what_to_do_if_it_was_somebody_else() {
        check(
            UserChange::SignedOutEverywhere,
            "You are signed out of Tickbell everywhere

Every session of your Tickbell account was ended at 5 Apr 2018 13:45:00 UTC, and every API key is revoked.

Sign in again where you want to. If it was not you, somebody else was signed in: ask for a new password at once: POST \
             https://bell.example.com/v1/password-resets with this address.

--
Tickbell at https://bell.example.com",
        );
    }
}
