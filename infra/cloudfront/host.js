// Viewer request of the API and of the relay: says by which host the client came, since API Gateway gets its own.
// Whatever the client itself said of that is overwritten.
function handler(event) {
  const headers = event.request.headers;
  headers['x-forwarded-host'] = { value: headers.host.value };
  return event.request;
}
