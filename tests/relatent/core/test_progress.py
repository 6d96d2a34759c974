import io

from relatent.core.progress import TRAINING, ProgressBar


def test_appears_with_the_first_news_and_closes():
    text = io.StringIO()
    with ProgressBar(desc="work", file=text, ascii=True, mininterval=0) as bar:
        assert text.getvalue() == ""
        bar.show(1, 4)
        bar.show(3, 4, "loss 0.5")
        assert bar.bar.n == 3
        assert "3/4" in text.getvalue()
        assert "loss 0.5" in text.getvalue()
        bar.show(2, 4)  # work may begin again
        assert bar.bar.n == 2
        first = bar.bar
        bar.close(desc="more")
        assert first.disable
        bar.show(1, 2)
        assert "more" in text.getvalue()
        second = bar.bar
    assert second.disable


def test_nothing_shown_leaves_nothing():
    with ProgressBar() as bar:
        pass
    assert bar.bar is None


def test_unknown_total_and_training_format():
    text = io.StringIO()
    with ProgressBar(file=text) as bar:
        bar.show(5, None)
    assert "5it" in text.getvalue()
    text = io.StringIO()
    with ProgressBar(file=text, bar_format=TRAINING, ascii=True) as bar:
        bar.show(0.5, 2, " G 1.00")
    assert "0.5/2 kimg" in text.getvalue()
    assert "G 1.00" in text.getvalue()
