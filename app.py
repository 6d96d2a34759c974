"""`python app.py`: the page, on this machine; the same as `relatent page`."""

from relatent.web.command import main

if __name__ == "__main__":
    main()
