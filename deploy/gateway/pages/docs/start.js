document.documentElement.classList.toggle("dark-mode", matchMedia("(prefers-color-scheme: dark)").matches);
// Without Swagger UI's top bar, whose inline styles the gateway's policy forbids.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  tagsSorter: "alpha",
  defaultModelsExpandDepth: 0,
  validatorUrl: null, // else it asks validator.swagger.io
});
