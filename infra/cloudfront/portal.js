// Viewer request of the portal: its pages are one page, whose script reads the address; files have an extension.
function handler(event) {
  if (!/\.[^/]+$/.test(event.request.uri)) {
    event.request.uri = '/portal/index.html';
  }
  return event.request;
}
