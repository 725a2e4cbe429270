"""Bridges to other people's systems; each file stands alone and is imported only when it is used."""
