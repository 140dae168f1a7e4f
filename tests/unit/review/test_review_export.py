"""The sheet that people get: which cells, in which order, with what beside them."""

import json


def test_a_queue_holds_the_cells_in_review_best_first_with_what_a_person_needs(review):
    rows = review.export(limit=10_000)
    print(rows.head(20).to_string())
    assert len(rows)
    a = review.export("audit.csv", purpose="audit", limit=5)
    print(a.head(20).to_string())
    print(json.dumps(review.import_(rows.assign(answer="n/a").query("attribute=='neckline'")), indent=1))
    from attrgan import api
    print(json.dumps(api.review_stats(review.url))[:3000])
