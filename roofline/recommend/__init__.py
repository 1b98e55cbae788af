"""Recommendations: what meets the wishes, ranked, with the reason; and what nearly does, with what it misses."""

from roofline.recommend.candidates import Candidate, Question, candidates
from roofline.recommend.ranking import Ranked, near_misses, rank
from roofline.recommend.wishes import Miss, Wishes

__all__ = ["Candidate", "Miss", "Question", "Ranked", "Wishes", "candidates", "near_misses", "rank"]
