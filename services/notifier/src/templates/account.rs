//! Emails about accounts.

use askama::Template;
use events::link::Purpose;
use events::{UserChange, UserNoticed, display};
use platform::signed_links::Links;

use super::{EmailContent, render};

/// Renders the email about a change of an account, with the link for the next step.
pub fn account(notice: &UserNoticed, links: &Links) -> EmailContent {
    let home = links.base_url();
    let page = match notice.happened {
        UserChange::SignedUp => AccountPage {
            subject: "Confirm your Tickbell account",
            lead: format!(
                "Somebody, hopefully you, asked for a Tickbell account with this address at {}.",
                display::time_to_the_second(notice.at)
            ),
            link: Some(("Yes, make my account", links.url(Purpose::Join, notice.subject_id))),
            end: "The link works for 48 hours. If you did not ask at that time, ignore this mail: whoever asked has \
            chosen the account's password. Without your confirmation no account is created."
                .into(),
            home,
        },
        UserChange::SignedUpAgain => AccountPage {
            subject: "You have a Tickbell account already",
            lead: "Somebody, hopefully you, asked for a Tickbell account with this address. The address has an \
            account already: sign in with its password."
                .into(),
            link: None,
            end: format!(
                "If you have forgotten the password, reset it: POST {home}/v1/password-resets with this address. If \
                it was not you, do nothing: whoever asked was not told that the account exists."
            ),
            home,
        },
        UserChange::ResetRequested => AccountPage {
            subject: "Reset your Tickbell password",
            lead: "Somebody, hopefully you, asked to reset the password of the Tickbell account with this \
            address."
                .into(),
            link: Some(("Choose a new password", links.url(Purpose::Reset, notice.subject_id))),
            end: "The link works once, within one hour. If it was not you, do nothing: the password stays unchanged."
                .into(),
            home,
        },
        UserChange::PasswordChanged => AccountPage {
            subject: "Your Tickbell password was changed",
            lead: format!(
                "The password of your Tickbell account was changed at {}. Every other session has ended, and every \
                API \
                 key is revoked.",
                display::time_to_the_second(notice.at)
            ),
            link: None,
            end: format!(
                "If it was not you, reset the password at once: POST {home}/v1/password-resets with this address. The \
                reset ends every session and revokes every API key."
            ),
            home,
        },
        UserChange::SignedOutEverywhere => AccountPage {
            subject: "You are signed out of Tickbell everywhere",
            lead: format!(
                "Every session of your Tickbell account was ended at {}, and every API key is revoked.",
                display::time_to_the_second(notice.at)
            ),
            link: None,
            end: format!(
                "You can sign in again at any time. If it was not you, somebody else was signed in, so reset the \
                password at once: POST {home}/v1/password-resets with this address."
            ),
            home,
        },
    };
    let (text, html) = (render(&AccountText { page: &page }), render(&page));
    EmailContent { subject: page.subject.to_owned(), text, html, unsubscribe: None }
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    subject: &'static str,
    lead: String,
    /// The text and the URL of the button.
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
    use crate::templates::tests::links;

    fn email(happened: UserChange) -> EmailContent {
        let at = "2018-04-05T13:45:00Z".parse().expect("a time");
        let notice = UserNoticed { notice_id: Uuid::from_u128(8), happened, subject_id: Uuid::from_u128(9), at };
        account(&notice, &links())
    }

    fn check(happened: UserChange, expected: &str) {
        let email = email(happened);
        assert_eq!(email.text, expected);
        assert!(expected.starts_with(&email.subject) && email.html.contains(&email.subject));
        assert!(email.unsubscribe.is_none() && !email.html.contains("<img") && !email.html.contains("<script"));
        for line in expected.lines().filter(|line| line.starts_with("https://")) {
            assert!(email.html.contains(&format!("href=\"{line}\"")), "{line} in {}", email.html);
        }
    }

    #[test]
    fn a_sign_up_is_asked_for_a_yes() {
        let link = links().url(Purpose::Join, Uuid::from_u128(9));
        check(
            UserChange::SignedUp,
            &format!(
                "Confirm your Tickbell account

Somebody, hopefully you, asked for a Tickbell account with this address at 5 Apr 2018 13:45:00 UTC.

Yes, make my account:
{link}

The link works for 48 hours. If you did not ask at that time, ignore this mail: whoever asked has chosen the \
             account's password. Without your confirmation no account is created.

--
Tickbell at https://bell.example.com"
            ),
        );
    }

    #[test]
    fn a_repeated_sign_up_says_how_to_sign_in() {
        check(
            UserChange::SignedUpAgain,
            "You have a Tickbell account already

Somebody, hopefully you, asked for a Tickbell account with this address. The address has an account already: sign in \
             with its password.

If you have forgotten the password, reset it: POST https://bell.example.com/v1/password-resets with this address. If \
             it was not you, do nothing: whoever asked was not told that the account exists.

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

Somebody, hopefully you, asked to reset the password of the Tickbell account with this address.

Choose a new password:
{link}

The link works once, within one hour. If it was not you, do nothing: the password stays unchanged.

--
Tickbell at https://bell.example.com"
            ),
        );
    }

    #[test]
    fn a_changed_password_says_what_to_do_if_it_was_somebody_else() {
        check(
            UserChange::PasswordChanged,
            "Your Tickbell password was changed

The password of your Tickbell account was changed at 5 Apr 2018 13:45:00 UTC. Every other session has ended, and \
             every \
             API key is revoked.

If it was not you, reset the password at once: POST https://bell.example.com/v1/password-resets with this address. \
             The reset ends every session and revokes every API key.

--
Tickbell at https://bell.example.com",
        );
    }

    #[test]
    fn a_sign_out_everywhere_says_what_to_do_if_it_was_somebody_else() {
        check(
            UserChange::SignedOutEverywhere,
            "You are signed out of Tickbell everywhere

Every session of your Tickbell account was ended at 5 Apr 2018 13:45:00 UTC, and every API key is revoked.

You can sign in again at any time. If it was not you, somebody else was signed in, so reset the password at once: \
             POST \
             https://bell.example.com/v1/password-resets with this address.

--
Tickbell at https://bell.example.com",
        );
    }
}
