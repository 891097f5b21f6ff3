//! The bugs that can be planted in a [`Model`](crate::model::Model), and what finds each of them.

use grantor::testing::Clause;

/// Declares the bugs, and tables of them: the clause that each breaks, and a case that finds it, by a part of its name.
macro_rules! bugs {
    ($($(#[$doc:meta])* $table:ident { $($clause:ident { $($bug:ident: $case:literal,)* })* })*) => {
        /// What is wrong with a model.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Bug {
            None,
            /// Calls that fail break no clause of their own.
            CanNotPurge,
            PanicsInAPurge,
            $($($($bug,)*)*)*
        }

        $($(#[$doc])* pub(crate) const $table: &[(Bug, Clause, &str)] =
            &[$($((Bug::$bug, Clause::$clause, $case),)*)*];)*
    };
}

bugs! {
    /// Bugs that show by themselves.
    BUGS {
        Linearizable {
            CachesFinds: "what one node has written",
            RemembersAbsence: "looked for in vain",
            ShowsLosersAnOldSnapshot: "a caller that lost a race",
        }
        Atomic {
            ChecksThenActs: "race for one token exactly one is done",
            OpensWithoutATransaction: "if one of its tokens is taken",
            OverwritesAGrant: "if its identifier is taken",
            OpensOrphans: "only under a parent that lives",
            OpensUnderEndedParents: "only under a parent that lives",
            ForgetsKeys: "a one-time key is used once",
            FailsForUsedKeys: "a one-time key is used once",
            UsesKeysInVain: "a one-time key is used once",
            LooksForKeysFirst: "of many that use a one-time key at once",
            SpentBeforeRevoked: "decides in the order",
            MovesTheGrantWhenItIsLate: "writes nothing unless it is done",
            KeepsSeeds: "erases its parent's seed",
            KeepsSeedsOfCodes: "erases the code's seed",
            ErasesSeedsLater: "finds no seed beside its parent",
            ConsumesAlways: "not to be consumed",
            MovesBack: "never moved back",
            OverwritesTokens: "successor's hash is taken",
            LosesAUse: "many that use a token without consuming it",
        }
        AmbiguousCommits {
            ForgetsAttempts: "finds its own work",
            LooksForTheAttemptFirst: "many times at once",
        }
        Crashes {
            SpendsThenStores: "a redemption that is given up",
            OpensInTwoSteps: "an `open_grant` that is given up",
        }
        Evidence {
            PurgesSpent: "leaves all evidence",
            PurgesUnusedRefreshTokens: "leaves all evidence",
            PurgesInPartAndForgets: "whose purge has begun",
            PurgesSeedsNever: "erases seeds",
            PurgesSeedsByAConstant: "erases seeds",
            PurgesMoreThanItMay: "no more rows than it may",
            PurgesTheRevokedNever: "ended and revoked families whole",
            PurgesOnlyWhatEndedBefore: "ended and revoked families whole",
            PurgesChildrenToo: "a parent that merely ends",
            PurgesParentsFirst: "a revoked parent is purged",
            PurgesBareChildrenFirst: "a revoked parent is purged",
            PurgesKeysWithTheirGrants: "a one-time key outlives its grant",
        }
        NoClock {
            RedeemsByItsClock: "judges by the time it is given",
            SpendsByItsClock: "bears the time",
            ListsByItsClock: "list of live grants",
            ForgetsByItsClock: "found whatever the time is",
        }
        RevocationIsFinal {
            IgnoresTheSubject: "each selector revokes",
            IgnoresTheSession: "each selector revokes",
            RevokesNoChildren: "all that descends from it",
            RevokesOneGeneration: "all that descends from it",
            LooksAtTheParentFirst: "a child that is opened while its parent is revoked",
            RevokesOneBatchOfDescendants: "a family of some hundred grants",
            DescendsFromTheLivingOnly: "a revocation of a family that is given up",
            LeavesTheRestToAnother: "of many that revoke one family at once",
            DescendsByAnOldList: "a child that is opened while its parent is revoked",
            TakesClientsForSubjects: "each selector revokes",
            FoldsCase: "byte by byte",
            RevokesAnyToken: "only an access token",
            RevokesAgain: "the first time counts",
            RevokesOnlyWhatLives: "has ended by the time of its revocation",
            RevokesByAnOldList: "of many that revoke the same grants",
            RevokesByWholeRows: "meets redemptions leaves what they moved",
            WritesTheGrantBack: "revoked while its tokens are redeemed",
            RevokesWithAnOldIndex: "whose opening returned before",
            ListsOldestFirst: "newest first",
            SkipsEqualTimes: "newest first",
            FiltersAfterTheLimit: "does not shorten a page",
        }
        OpaqueRecords {
            DropsDetails: "every member of a token",
            FoldsUnknownKinds: "every member of a token",
            DropsParents: "every member of a token",
            DropsTheTokenType: "every member of a grant",
            ForgetsUnknownMembers: "members of details",
            RewritesDetailsWhenSpent: "members of details",
            RoundsNumbers: "as the same JSON",
            RoundsTimes: "to the microsecond",
        }
        Clients {
            RegistersTwice: "a client is registered once",
            UpdatesFromAnyVersion: "only from the version that is stored",
            UpdatesWithoutALock: "of many updates from one version",
            RotatesWithoutALock: "of many rotations at once",
            ChangesNewerClients: "comes back whole and is not changed",
            KeepsGrantsOfRemovedClients: "revokes all its grants",
        }
        Issuer {
            ClaimsAnew: "belongs to one issuer on every node",
            MovesFromAnyone: "belongs to one issuer on every node",
            FoldsIssuers: "belongs to one issuer on every node",
            ClaimsByALook: "of many issuers that claim",
        }
    }
    /// Bugs that show only when what is under way is broken.
    BUGS_WHEN_CUT {
        Crashes {
            LeavesHalfWhenCut: "each redemption is whole or absent",
            LosesWhatItAnswered: "what was answered stays",
        }
        AmbiguousCommits {
            ForgetsAttemptsWhenCut: "repeated after an interruption",
        }
    }
}
