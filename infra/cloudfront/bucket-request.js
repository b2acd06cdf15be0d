// Viewer request of the bucket: only the presigned query speaks for the client. S3 refuses two credentials at once,
// and clients that follow a redirect on one host send it their token.
function handler(event) {
  delete event.request.headers.authorization;
  return event.request;
}
