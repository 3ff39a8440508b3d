// Runs in CloudFront before every request (runtime 2.0).
// Requests for the API come here only while Route 53 finds no healthy gateway: they get an honest answer at once.
// For the dashboard every path that names no file is a page of the application, and that is index.html.
function handler(event) {
  var request = event.request;
  var host = request.headers.host ? request.headers.host.value : "";

  if (host === "${api_host}") {
    return {
      statusCode: 503,
      statusDescription: "Service Unavailable",
      headers: {
        "access-control-allow-origin": { value: "*" },
        "cache-control": { value: "no-store" },
        "content-type": { value: "application/problem+json" },
        "retry-after": { value: "60" },
      },
      body: JSON.stringify({
        type: "urn:tickbell:problem:unavailable",
        title: "Not available now",
        status: 503,
        detail: "Please try again in a minute. Rules are kept.",
      }),
    };
  }

  var file = request.uri.substring(request.uri.lastIndexOf("/") + 1);
  if (file.indexOf(".") === -1) {
    request.uri = "/index.html";
  }
  return request;
}
