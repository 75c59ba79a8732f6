"""What runs in the worker processes of a server: fits, pictures, maps and libraries.

A worker reads one JSON object a line, does what it says, and answers with JSON objects, a line each. Whatever
is printed meanwhile goes into the log. Uploads are read here and nowhere else.
"""
