import cf from 'cloudfront';

// Viewer request of the API where another region can answer too: as host.js, and what only reads is asked there if this
// region fails. A behaviour with an origin group may take no writes, so the group is made here, for reads alone.
function handler(event) {
  const request = event.request;
  request.headers['x-forwarded-host'] = { value: request.headers.host.value };
  if (request.method === 'GET' || request.method === 'HEAD') {
    cf.createRequestOriginGroup({
      originIds: [{ originId: 'api' }, { originId: 'other' }],
      failoverCriteria: { statusCodes: [500, 502, 503, 504] },
    });
  }
  return request;
}
