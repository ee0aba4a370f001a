//! The owner and the mode of a Unix socket's file.

use std::fs;

use serde::Deserialize;

/// Permission bits, in octal as chmod(1) has them: `"0600"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct FileMode(pub(super) u32);

impl TryFrom<String> for FileMode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        u32::from_str_radix(&text, 8)
            .ok()
            .filter(|mode| *mode <= 0o777)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no mode; write one like \"0600\", \"0660\" or \"0666\""))
    }
}

/// A user, by name or number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct User(pub(super) u32);

impl TryFrom<String> for User {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        number(&text, "/etc/passwd").map(Self).ok_or_else(|| format!("no user {text:?}; write a name or a number"))
    }
}

/// A group, by name or number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Group(pub(super) u32);

impl TryFrom<String> for Group {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        number(&text, "/etc/group").map(Self).ok_or_else(|| format!("no group {text:?}; write a name or a number"))
    }
}

/// passwd(5) and group(5) both have the name first and the number third. Names from elsewhere, such
/// as LDAP, have to be given as numbers.
fn number(text: &str, file: &str) -> Option<u32> {
    text.parse().ok().or_else(|| {
        let entries = fs::read_to_string(file).ok()?;
        let mut entries = entries.lines().map(|line| line.split(':'));
        entries.find_map(|mut fields| (fields.next()? == text).then(|| fields.nth(1)?.parse().ok())?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_and_owners_have_names_or_numbers() {
        assert_eq!(FileMode::try_from("0660".to_owned()), Ok(FileMode(0o660)));
        assert!(FileMode::try_from("0999".to_owned()).is_err());
        assert!(FileMode::try_from("7777".to_owned()).is_err());
        assert_eq!(User::try_from("root".to_owned()), Ok(User(0)));
        assert_eq!(User::try_from("1000".to_owned()), Ok(User(1000)));
        assert_eq!(Group::try_from("root".to_owned()), Ok(Group(0)));
        assert!(User::try_from("nobody-has-this-name".to_owned()).unwrap_err().contains("nobody-has-this-name"));
    }
}
