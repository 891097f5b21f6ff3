//! The bugs that can be planted in a [`Model`](crate::model::Model), and the case that finds each of them.

use grantor::testing::Clause;

/// Declares the bugs, and tables of them: the clause that each breaks, and a case that finds it, by a part of its name.
macro_rules! bugs {
    ($($(#[$doc:meta])* $table:ident { $($clause:ident { $($bug:ident: $case:literal,)* })* })*) => {
        /// The bug of a model.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Bug {
            None,
            /// No clause: the calls fail.
            CanNotPurge,
            PanicsInAPurge,
            $($($($bug,)*)*)*
        }

        $($(#[$doc])* pub(crate) const $table: &[(Bug, Clause, &str)] =
            &[$($((Bug::$bug, Clause::$clause, $case),)*)*];)*
    };
}

bugs! {
    /// Bugs that cause failures even if no call is interrupted.
    BUGS {
        Linearizable {
            CachesFinds: "a write at one node",
            RemembersAbsence: "as soon as it is stored",
            ShowsLosersAnOldSnapshot: "the loser of a race",
        }
        Atomic {
            ChecksThenActs: "race for one token: one",
            OpensWithoutATransaction: "a token hash that exists",
            OverwritesAGrant: "an identifier that exists",
            OpensOrphans: "only under a live parent",
            OpensUnderEndedParents: "only under a live parent",
            OpensWithoutConsent: "only while that consent is live",
            OpensOnEndedConsents: "only while that consent is live",
            ChecksConsentsFirst: "only while that consent is live",
            ForgetsKeys: "a one-time key is used once",
            FailsForUsedKeys: "a one-time key is used once",
            UsesKeysInVain: "a one-time key is used once",
            LooksForKeysFirst: "many calls race for a one-time key",
            SpentBeforeRevoked: "decides in the documented order",
            MovesTheGrantWhenItIsLate: "writes only if it answers",
            KeepsSeeds: "erases its parent's seed",
            KeepsSeedsOfCodes: "erases the code's seed",
            ErasesSeedsLater: "exactly when its parent has no seed",
            ConsumesAlways: "a token that is not consumed",
            MovesBack: "never move back",
            OverwritesTokens: "a successor hash that exists",
            LosesAUse: "do not consume the token",
        }
        AmbiguousCommits {
            ForgetsAttempts: "recognises its own write",
            LooksForTheAttemptFirst: "parallel copies of one attempt",
        }
        Crashes {
            SpendsThenStores: "a redemption cancelled",
            OpensInTwoSteps: "an `open_grant` cancelled",
        }
        Evidence {
            PurgesSpent: "keeps all evidence",
            PurgesUnusedRefreshTokens: "keeps all evidence",
            PurgesInPartAndForgets: "whose purge has begun",
            PurgesSeedsNever: "erases seeds",
            PurgesSeedsByAConstant: "erases seeds",
            PurgesMoreThanItMay: "at most `limit` rows",
            PurgesTheRevokedNever: "whole families that ended",
            PurgesOnlyWhatEndedBefore: "whole families that ended",
            PurgesChildrenToo: "does not end its children",
            PurgesParentsFirst: "a revoked parent is purged",
            PurgesBareChildrenFirst: "a revoked parent is purged",
            PurgesKeysWithTheirGrants: "a one-time key outlives its grant",
        }
        NoClock {
            RedeemsByItsClock: "compares with the time of the call",
            SpendsByItsClock: "written times",
            ListsByItsClock: "list of live grants",
            ForgetsByItsClock: "found at any time",
        }
        RevocationIsFinal {
            IgnoresTheSubject: "each selector revokes",
            IgnoresTheSession: "each selector revokes",
            RevokesNoChildren: "counts its descendants",
            RevokesOneGeneration: "counts its descendants",
            LooksAtTheParentFirst: "a child opened while its parent is revoked",
            RevokesOneBatchOfDescendants: "a family of some hundred grants",
            DescendsFromTheLivingOnly: "a family revocation cancelled",
            LeavesTheRestToAnother: "parallel revocations of one family",
            DescendsByAnOldList: "a child opened while its parent is revoked",
            LooksAtTheConsentFirst: "because of a consent that is being revoked",
            SelectsOnce: "because of a consent that is being revoked",
            TakesConsentsForParents: "does not end with the grant of its consent",
            TakesClientsForSubjects: "each selector revokes",
            FoldsCase: "byte by byte",
            RevokesAnyToken: "only an access token",
            RevokesAgain: "the first revocation time stays",
            RevokesOnlyWhatLives: "a grant that has ended is still revoked",
            RevokesByAnOldList: "parallel revocations count each grant once",
            RevokesByWholeRows: "during redemptions keeps their updates",
            WritesTheGrantBack: "revoked while its tokens are redeemed",
            RevokesWithAnOldIndex: "opened before it began",
            ListsOldestFirst: "newest first",
            SkipsEqualTimes: "newest first",
            FiltersAfterTheLimit: "do not shorten a page",
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
            UpdatesFromAnyVersion: "only from its stored version",
            UpdatesWithoutALock: "many updates race from one version",
            RotatesWithoutALock: "no rotation of many",
            ChangesNewerClients: "a client with unknown members",
            KeepsGrantsOfRemovedClients: "revokes all its grants",
        }
        Issuer {
            ClaimsAnew: "belongs to one issuer at every node",
            MovesFromAnyone: "belongs to one issuer at every node",
            FoldsIssuers: "belongs to one issuer at every node",
            ClaimsByALook: "many issuers race to claim",
        }
    }
    /// Bugs that cause failures only if calls are interrupted.
    BUGS_WHEN_CUT {
        Crashes {
            LeavesHalfWhenCut: "each redemption is whole or absent",
            LosesWhatItAnswered: "answered ones stay",
        }
        AmbiguousCommits {
            ForgetsAttemptsWhenCut: "repeated after an interruption",
        }
    }
}
