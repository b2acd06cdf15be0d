// Viewer request of every address that nothing else takes: people are sent to the portal, clients learn of a 404.
const PEOPLE = ['/', '/portal'];
const NOTHING = { errors: [{ code: 'UNSUPPORTED', message: 'there is nothing at this address' }] };

function handler(event) {
  if (PEOPLE.includes(event.request.uri)) {
    return { statusCode: 302, statusDescription: 'Found', headers: { location: { value: '/portal/' } } };
  }
  return {
    statusCode: 404,
    statusDescription: 'Not Found',
    headers: { 'content-type': { value: 'application/json' } },
    body: JSON.stringify(NOTHING),
  };
}
