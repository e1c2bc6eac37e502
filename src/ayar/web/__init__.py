"""The dashboard and its REST interface. Needs ``pip install 'ayar[web]'``."""
