"""The server: models of runs behind the completions endpoint that clients of OpenAI's API call.

The main modules are:

    requests      the body of a request, checked
    running_model one model that continues and scores the texts of all requests together
    models        the models by name, loaded again when training has saved a better one
    completions   the texts of a request, while they are written
    endpoint      the answer to a request, whole or as a stream of events
    app           the routes, and which requests are let in
    serving       the socket, the start and the end of the server

Start reading at endpoint.py. This package needs Starlette and uvicorn (`charlstm[serve]`).
"""
