"""Rewards in the form that each trainer expects: one file for each, a few lines over the client.

None of them imports its trainer before it is used. All read ASSAY_URL and ASSAY_API_KEY, and hold no connection of
their own, so that they pickle and fork. What an unscored completion becomes differs, since few trainers have a way
to leave one out; each file says it.
"""
