"""Question matching: text in, ranked topics out; imports nothing of ours."""

from knowledge.checking import check_entry
from knowledge.comparison import Changed, Comparison, compare, labelled_phrases
from knowledge.entry import KnowledgeEntry, KnowledgeError, entry_from_mapping, read_entry
from knowledge.evaluation import Question, Report, evaluate, explain, read_questions, write_predictions
from knowledge.knowledge import Knowledge, Setting
from knowledge.matching import Candidate, Decision, Match
from knowledge.own import read_own

__all__ = [
    "Candidate",
    "Changed",
    "Comparison",
    "Decision",
    "Knowledge",
    "KnowledgeEntry",
    "KnowledgeError",
    "Match",
    "Question",
    "Report",
    "Setting",
    "check_entry",
    "compare",
    "entry_from_mapping",
    "evaluate",
    "explain",
    "labelled_phrases",
    "read_entry",
    "read_own",
    "read_questions",
    "write_predictions",
]
