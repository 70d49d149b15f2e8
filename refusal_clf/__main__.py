"""`python -m refusal_clf` is `refusal-clf`."""

from refusal_clf.cli import main

if __name__ == "__main__":
    main()
