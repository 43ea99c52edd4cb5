//! Why rows of this dataset are left out, changed or pointed at, and what is done with each.

use crate::import::findings::Action::{Flagged, Repaired, Skipped};
use crate::import::findings::{Action, Reason};

const fn reason(action: Action, code: &'static str, meaning: &'static str) -> Reason {
    Reason {
        action,
        code,
        meaning,
    }
}

pub(super) static BAD_CODE: Reason = reason(
    Skipped,
    "malformed_code",
    "module, presentation or activity type is malformed",
);
pub(super) static ABSURD_LENGTH: Reason = reason(
    Skipped,
    "absurd_length",
    "length of a presentation is not within 1 to 1000 days",
);
pub(super) static ABSURD_DAY: Reason = reason(
    Skipped,
    "absurd_day",
    "first visit is years away from the presentation",
);
pub(super) static UNKNOWN_COURSE: Reason = reason(
    Skipped,
    "unknown_course",
    "presentation is not in courses.csv.gz",
);
pub(super) static DUPLICATE: Reason = reason(
    Skipped,
    "duplicate",
    "repeats an earlier row's key; the first one stands",
);
pub(super) static UNKNOWN_SITE: Reason = reason(
    Skipped,
    "unknown_site",
    "site was not imported from vle.csv.gz",
);
pub(super) static SITE_OF_ANOTHER_COURSE: Reason = reason(
    Skipped,
    "site_of_another_course",
    "site belongs to another presentation",
);
pub(super) static NOT_REGISTERED: Reason = reason(
    Skipped,
    "not_registered",
    "visit by a student without an imported registration",
);
pub(super) static NO_REGISTRATION: Reason = reason(
    Skipped,
    "no_registration",
    "student without an imported registration in this presentation",
);
pub(super) static ENROLLED_OTHERWISE: Reason = reason(
    Skipped,
    "enrolled_otherwise",
    "person has an open enrolment in the course that is not an import's",
);

pub(super) static ABSURD_NUMBER: Reason = reason(
    Skipped,
    "absurd_number",
    "weight is above 1000, or score above 100",
);
pub(super) static UNKNOWN_ASSESSMENT: Reason = reason(
    Skipped,
    "unknown_assessment",
    "assessment was not imported from assessments.csv.gz",
);
pub(super) static RESULT_NOT_REGISTERED: Reason = reason(
    Skipped,
    "result_not_registered",
    "result of a student without an imported registration",
);
pub(super) static ASSESSMENT_NOT_IN_VERSION: Reason = reason(
    Skipped,
    "assessment_not_in_version",
    "course was published without the assessment, by an earlier import or by hand",
);

pub(super) static WEEK_LEFT_OUT: Reason = reason(
    Repaired,
    "week_left_out",
    "planned week is no number; left out",
);
pub(super) static LAST_DAY_UNUSABLE: Reason = reason(
    Repaired,
    "last_day_unusable",
    "last visit is unknown or impossible; the first one is taken",
);
pub(super) static REPEATED_VISIT: Reason = reason(
    Repaired,
    "repeated_visit",
    "same student and site again; merged, earliest first and latest last day",
);
pub(super) static REGISTRATION_DATE_UNUSABLE: Reason = reason(
    Repaired,
    "registration_date_unusable",
    "registration date is unknown; the earliest of start, first visit and unregistration is taken",
);
pub(super) static COMPLETED_BEFORE_REGISTRATION: Reason = reason(
    Repaired,
    "completed_before_registration",
    "everything was done before the registration; enrolled from the first visit",
);

pub(super) static SUBMISSION_DATE_UNUSABLE: Reason = reason(
    Repaired,
    "submission_date_unusable",
    "day of handing in is unknown; the due date is taken, or the start of the presentation",
);

pub(super) static DUE_DATE_UNKNOWN: Reason = reason(
    Flagged,
    "due_date_unknown",
    "assessment without a usable date; it does not close",
);
pub(super) static NO_SCORE: Reason = reason(
    Flagged,
    "no_score",
    "result without a score; handed in, and waits for a grader",
);
pub(super) static BANKED: Reason = reason(
    Flagged,
    "banked",
    "result carried over from an earlier presentation; counts, and says so",
);
pub(super) static LATE: Reason = reason(Flagged, "late", "handed in after the due date; counts");
pub(super) static RESULT_AFTER_UNREGISTRATION: Reason = reason(
    Flagged,
    "result_after_unregistration",
    "handed in after the unregistration; counted",
);
pub(super) static VISIT_BEFORE_REGISTRATION: Reason = reason(
    Flagged,
    "visit_before_registration",
    "visit before the registration; both dates stand",
);
pub(super) static VISIT_AFTER_UNREGISTRATION: Reason = reason(
    Flagged,
    "visit_after_unregistration",
    "visit after the unregistration; counted",
);
pub(super) static UNREGISTERED_BEFORE_REGISTRATION: Reason = reason(
    Flagged,
    "unregistered_before_registration",
    "unregistration before the registration; both dates stand",
);
pub(super) static UNREGISTRATION_DATE_UNUSABLE: Reason = reason(
    Flagged,
    "unregistration_date_unusable",
    "unregistration date is no usable date; not dropped",
);
pub(super) static WITHDRAWN_WITHOUT_DATE: Reason = reason(
    Flagged,
    "withdrawn_without_date",
    "result is Withdrawn, but no unregistration date; not dropped",
);
pub(super) static UNREGISTERED_WITH_RESULT: Reason = reason(
    Flagged,
    "unregistered_with_result",
    "unregistered, but the result is not Withdrawn; dropped",
);
pub(super) static COMPLETED_AND_UNREGISTERED: Reason = reason(
    Flagged,
    "completed_and_unregistered",
    "completed and unregistered; stays completed",
);
pub(super) static NO_ACTIVITY: Reason = reason(
    Flagged,
    "no_activity",
    "registration without any visit; enrolled",
);
pub(super) static NO_DETAILS: Reason = reason(
    Flagged,
    "no_details",
    "registration of a student who is not in studentInfo.csv.gz; enrolled",
);
