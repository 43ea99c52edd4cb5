//! The words that people read, in each language. Pure data.

use crate::locale::Locale;

/// The same in English, German and Spanish.
pub type Words = [&'static str; 3];

/// The word in the reader's language.
pub fn of(words: Words, locale: Locale) -> &'static str {
    words[locale as usize]
}

macro_rules! words {
    ($($name:ident = $en:literal, $de:literal, $es:literal;)*) => {
        $(#[doc = $en] pub const $name: Words = [$en, $de, $es];)*
    };
}

words! {
    ACTIVE_LEARNERS = "Active learners", "Aktive Lernende", "Personas activas";
    ANSWERS = "Answers", "Antworten", "Respuestas";
    AS_OF = "As of", "Stand", "Datos a";
    AT = "At the end of", "Am Ende des", "Al final del";
    AVERAGE_PROGRESS = "Average progress", "Mittlerer Fortschritt", "Progreso medio";
    BEGAN_IN = "Began in", "Beginn", "Inicio";
    BEGINNING = "From", "Ab", "Desde";
    CERTIFIED_AT = "Certified at", "Bescheinigt am", "Certificado el";
    CERTIFIED_BY = "Certified by", "Bescheinigt von", "Certificado por";
    CERTIFICATION = "Certification", "Bescheinigung", "Certificación";
    COHORT = "Cohort", "Gruppe", "Grupo";
    COMPLETED = "Completed", "Abgeschlossen", "Completados";
    COMPLETED_AT = "Completed on", "Abgeschlossen am", "Completado el";
    COMPLETED_RATE = "Completed, share", "Abgeschlossen, Anteil", "Completados, parte";
    COMPLETIONS = "Completions", "Abschlüsse", "Finalizaciones";
    COMPLETION_RATE = "Completion rate", "Abschlussquote", "Tasa de finalización";
    CORRECTION = "Corrected because", "Berichtigt, weil", "Corregido porque";
    COURSE = "Course", "Kurs", "Curso";
    COURSE_ID = "Course id", "Kurs-ID", "ID del curso";
    CURRENT_SECTION = "Last lesson", "Letzte Lektion", "Última lección";
    CYCLE = "Cycle", "Durchlauf", "Ciclo";
    DETAIL = "Detail", "Einzelheiten", "Detalle";
    DISCRIMINATION = "Discrimination", "Trennschärfe", "Discriminación";
    DROPPED_OFF = "Not completed", "Nicht abgeschlossen", "Sin completar";
    DROP_OFF_RATE = "Drop-off rate", "Abbruchquote", "Tasa de abandono";
    DUE_AT = "Due", "Fällig", "Vence";
    EMPLOYER = "Employer", "Arbeitgeber", "Empleador";
    EMPTY = "There is nothing to show for this choice.", "Zu dieser Auswahl gibt es nichts zu zeigen.", "No hay nada que mostrar para esta selección.";
    ENROLLED = "Enrolled", "Eingeschrieben", "Inscritos";
    ENROLLED_AT = "Enrolled on", "Eingeschrieben am", "Inscrito el";
    ENROLLMENTS = "Enrolments", "Einschreibungen", "Inscripciones";
    EVENTS = "Events", "Ereignisse", "Eventos";
    EXPIRES_AT = "Valid until", "Gültig bis", "Válido hasta";
    FIRST_OF = "The first {shown} of {all} rows. CSV and spreadsheet hold all of them.", "Die ersten {shown} von {all} Zeilen. CSV und Tabellenblatt enthalten alle.", "Las primeras {shown} de {all} filas. El CSV y la hoja de cálculo las contienen todas.";
    FROM = "From", "Von", "Desde";
    GRADE = "Grade", "Note", "Calificación";
    HALF = "Halfway", "Zur Hälfte", "A la mitad";
    HALF_RATE = "Halfway, share", "Zur Hälfte, Anteil", "A la mitad, parte";
    IN_PROGRESS = "In progress", "In Arbeit", "En curso";
    JOB_TITLE = "Job title", "Tätigkeit", "Puesto";
    KEPT_AT_LEAST = "Kept at least until", "Aufbewahrt mindestens bis", "Se conserva al menos hasta";
    KEPT_UNTIL = "Kept until", "Aufbewahrt bis", "Se conserva hasta";
    LAST_ACTIVE = "Last active", "Zuletzt aktiv", "Última actividad";
    LAST_DAYS = "The last {days} days", "Die letzten {days} Tage", "Los últimos {days} días";
    LEARNING_TIME = "Learning time", "Lernzeit", "Tiempo de estudio";
    LESSON = "Lesson", "Lektion", "Lección";
    LESSON_ID = "Lesson id", "Lektions-ID", "ID de la lección";
    MATERIALS = "Training materials", "Schulungsunterlagen", "Materiales de formación";
    MOST_ROWS = "Most rows", "Zeilen höchstens", "Filas como máximo";
    MIN_ATTEMPTS = "Answers at least", "Antworten mindestens", "Respuestas como mínimo";
    MISSING = "Missing", "Fehlt", "Falta";
    MISS_RATE = "Wrong, share", "Falsch, Anteil", "Falladas, parte";
    MORE_BARS = "The first {shown} of {all}", "Die ersten {shown} von {all}", "Las primeras {shown} de {all}";
    NO = "no", "nein", "no";
    NOTHING_ASKED = "not asked of this person", "von dieser Person nicht verlangt", "no se exige a esta persona";
    NOT_STARTED = "Not started", "Nicht begonnen", "Sin empezar";
    ORGANIZATION = "Organisation", "Organisation", "Organización";
    PEOPLE = "People", "Personen", "Personas";
    PERIOD = "Period", "Zeitraum", "Período";
    PERIOD_AFTER = "Step after", "Schritt danach", "Paso posterior";
    PERSON = "Person", "Person", "Persona";
    PERSON_ID = "Person id", "Personen-ID", "ID de la persona";
    POSITION = "No.", "Nr.", "N.º";
    PROGRESS = "Progress", "Fortschritt", "Progreso";
    QUESTION = "Question", "Frage", "Pregunta";
    REACHED = "Reached", "Erreicht", "Alcanzada";
    REPORT = "Report", "Bericht", "Informe";
    RETENTION_RATE = "Still active, share", "Noch aktiv, Anteil", "Siguen activos, parte";
    RIGHT = "Right", "Richtig", "Acertadas";
    SECTION = "Section", "Abschnitt", "Sección";
    SHORT_NAME = "Short name", "Kurzname", "Nombre corto";
    SINCE_EVER = "all time", "gesamte Zeit", "todo el tiempo";
    STARTED = "Started", "Begonnen", "Empezados";
    STARTED_RATE = "Started, share", "Begonnen, Anteil", "Empezados, parte";
    STATE = "State", "Stand", "Estado";
    STATES = "States", "Stände", "Estados";
    STATUS = "Status", "Status", "Estado";
    STEP = "Step", "Schritt", "Paso";
    SUBJECT = "Subject", "Gegenstand", "Objeto";
    SUCCESS_RATE = "Right, share", "Richtig, Anteil", "Acertadas, parte";
    TESTED = "Trained and tested", "Geschult und geprüft", "Formado y evaluado";
    TESTED_AT = "Tested on", "Geprüft am", "Evaluado el";
    TEST_RESULT = "Test result", "Prüfungsergebnis", "Resultado de la prueba";
    TIME_SPENT = "Time spent", "Zeitaufwand", "Tiempo dedicado";
    TRAINER_ADDRESS = "Address of the trainer", "Anschrift der Lehrkraft", "Dirección del formador";
    TRAINER_NAME = "Trained by", "Geschult von", "Formado por";
    UNIT = "Unit", "Einheit", "Unidad";
    UNIT_ID = "Unit id", "Einheits-ID", "ID de la unidad";
    UNIT_WITH_BELOW = "Unit, with all below it", "Einheit mit allen darunter", "Unidad, con todas las inferiores";
    UNNAMED = "(without a name)", "(ohne Namen)", "(sin nombre)";
    UNTIL = "Until", "Bis", "Hasta";
    WHAT = "What", "Was", "Qué";
    WHAT_COUNTS = "What is counted", "Was gezählt wird", "Qué se cuenta";
    WHEN = "When", "Wann", "Cuándo";
    WRONG = "Wrong", "Falsch", "Falladas";
    YES = "yes", "ja", "sí";
}

/// Words that the database uses, as people read them.
const KNOWN: &[(&str, Words)] = &[
    ("active", ["Active", "Aktiv", "Activo"]),
    ("answered", ["Answered", "Beantwortet", "Respondida"]),
    ("cancelled", ["Cancelled", "Storniert", "Cancelado"]),
    ("completed", ["Completed", "Abgeschlossen", "Completado"]),
    ("day", ["Day", "Tag", "Día"]),
    ("done", ["Done", "Erledigt", "Hecho"]),
    ("dropped", ["Dropped", "Abgebrochen", "Abandonado"]),
    ("due", ["Due", "Fällig", "Pendiente"]),
    ("enrolled", ["Enrolled", "Eingeschrieben", "Inscrito"]),
    ("expired", ["Expired", "Abgelaufen", "Caducado"]),
    ("expiring", ["Expiring", "Läuft ab", "Por caducar"]),
    (
        "lesson_completed",
        [
            "Lesson completed",
            "Lektion abgeschlossen",
            "Lección completada",
        ],
    ),
    ("month", ["Month", "Monat", "Mes"]),
    ("overdue", ["Overdue", "Überfällig", "Vencido"]),
    ("paused", ["Paused", "Pausiert", "En pausa"]),
    ("pending", ["Pending", "Ausstehend", "Pendiente"]),
    ("started", ["Started", "Begonnen", "Empezado"]),
    ("waived", ["Waived", "Befreit", "Exento"]),
    ("week", ["Week", "Woche", "Semana"]),
];

/// A word of the database as people read it; one that is not known here, with its underscores as spaces.
pub fn told(word: &str, locale: Locale) -> String {
    match KNOWN.binary_search_by(|(known, _)| known.cmp(&word)) {
        Ok(place) => of(KNOWN[place].1, locale).to_owned(),
        Err(_) => word.replace('_', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found() {
        assert!(KNOWN.is_sorted_by(|one, next| one.0 < next.0));
        assert_eq!(told("overdue", Locale::De), "Überfällig");
        assert_eq!(told("page_view", Locale::De), "page view");
    }
}
