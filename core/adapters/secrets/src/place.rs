//! Where a secret lies, by its ARN.

/// Where a secret lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// AWS Secrets Manager.
    SecretsManager,
    /// AWS Systems Manager's Parameter Store.
    ParameterStore {
        /// Of AWS.
        region: &'a str,
        /// As its interface takes it: a path with its first slash, another name without one.
        name: &'a str,
    },
}

impl<'a> Place<'a> {
    /// `arn:aws:ssm:eu-central-1:123456789012:parameter/lyceum/search` is a parameter; anything else is for Secrets Manager, which
    /// takes names, too.
    pub fn of(arn: &'a str) -> Self {
        let mut parts = arn.splitn(6, ':');
        let parts: [&str; 6] = std::array::from_fn(|_| parts.next().unwrap_or_default());
        let ["arn", _, "ssm", region, _, resource] = parts else { return Self::SecretsManager };
        let Some(path) = resource.strip_prefix("parameter") else { return Self::SecretsManager };
        let name = path.strip_prefix('/').filter(|name| !name.contains('/')).unwrap_or(path);
        Self::ParameterStore { region, name }
    }

    /// What a role must be allowed to read it.
    pub fn right(&self) -> &'static str {
        match self {
            Self::SecretsManager => "secretsmanager:GetSecretValue",
            Self::ParameterStore { .. } => "ssm:GetParameter",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_told_from_a_secret_and_has_the_name_that_its_service_takes() {
        let parameter = |name| Place::ParameterStore { region: "eu-central-1", name };
        for (arn, place) in [
            ("arn:aws:ssm:eu-central-1:123456789012:parameter/lyceum/search", parameter("/lyceum/search")),
            ("arn:aws-cn:ssm:eu-central-1:123456789012:parameter/search", parameter("search")),
            ("arn:aws:secretsmanager:eu-central-1:123456789012:secret:search-AbCdEf", Place::SecretsManager),
            ("arn:aws:ssm:eu-central-1:123456789012:document/search", Place::SecretsManager),
            ("search", Place::SecretsManager),
        ] {
            assert_eq!(Place::of(arn), place, "{arn}");
        }
        assert_eq!(parameter("search").right(), "ssm:GetParameter");
    }
}
