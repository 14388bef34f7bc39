"""What schemathesis has to be told: a body of lines is a list of objects, written one a line."""

import json

import schemathesis

NDJSON = "application/x-ndjson"


@schemathesis.hook
def before_load_schema(context, raw_schema):
    for path in raw_schema["paths"].values():
        for operation in path.values():
            body = operation.get("requestBody", {}) if isinstance(operation, dict) else {}
            content = body.get("content", {}).get(NDJSON)
            if content:
                content["schema"] = {"type": "array", "items": content["x-line"], "maxItems": 8}
                for example in content["examples"].values():
                    example["value"] = [json.loads(line) for line in example["value"].splitlines()]


@schemathesis.serializer(NDJSON)
def lines(context, value):
    if not isinstance(value, list):
        value = [value]
    return "".join(json.dumps(item) + "\n" for item in value).encode()


@schemathesis.deserializer(NDJSON)
def text(context, response):
    return response.content.decode()
